from io import BytesIO
from typing import Any

import pytest
from pydicom import DataElement, Dataset, config
from pydicom.sequence import Sequence

from shared.dicom.deidentification.burned_in import may_name_somebody
from shared.dicom.deidentification.deidentifier import Deidentifier
from shared.dicom.deidentification.file import BurnedInAnnotationError, deidentify_file
from shared.dicom.deidentification.profile import Option, Profile
from shared.dicom.deidentification.pseudonyms import Pseudonyms
from shared.dicom.deidentification.table import Action, actions
from shared.dicom.dictionary import known_vr
from shared.dicom.quiet import quiet
from shared.errors import InvalidRequestError
from tests.builders import dataset, image, part10, sequence_item

PSEUDONYMS = Pseudonyms(b"k" * 32)
_FULL_DATES = Option.RETAIN_LONGITUDINAL_TEMPORAL_FULL_DATES
_MODIFIED_DATES = Option.RETAIN_LONGITUDINAL_TEMPORAL_MODIFIED_DATES


def deidentified(source: Dataset, *options: Option, by: Pseudonyms = PSEUDONYMS) -> Dataset:
    Deidentifier(Profile(frozenset(options)), by).deidentify(source)
    return source


def _with_moment(tag: int, value: str, **keywords: str) -> Dataset:
    """A data set as it is read with a moment that pydicom would not write."""
    source = dataset(**keywords)
    vr = str(known_vr(tag))
    with quiet():
        source.add(DataElement(tag, vr, value, validation_mode=config.IGNORE))
    return source


def test_uids_of_one_study_stay_linked() -> None:
    one, two = dataset(), dataset()
    two.StudyInstanceUID, two.FrameOfReferenceUID = one.StudyInstanceUID, "1.2.3.4"
    one.FrameOfReferenceUID = "1.2.3.4"
    reference = sequence_item(
        ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID
    )
    two.ReferencedImageSequence = Sequence([reference])
    series = sequence_item(SeriesInstanceUID=one.SeriesInstanceUID)
    two.ReferencedSeriesSequence = Sequence([series])
    study_uid, class_uid = one.StudyInstanceUID, one.SOPClassUID

    deidentified(one)
    deidentified(two)

    assert one.StudyInstanceUID == two.StudyInstanceUID != study_uid
    assert one.FrameOfReferenceUID == two.FrameOfReferenceUID != "1.2.3.4"
    assert two.ReferencedImageSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert two.ReferencedImageSequence[0].ReferencedSOPClassUID == class_uid
    assert two.ReferencedSeriesSequence[0].SeriesInstanceUID == one.SeriesInstanceUID
    assert one.StudyInstanceUID.startswith("2.25.")
    assert len(one.StudyInstanceUID) <= 64


def test_another_key_gives_other_pseudonyms() -> None:
    first, second = dataset(PatientID="4711"), dataset(PatientID="4711")
    second.StudyInstanceUID = first.StudyInstanceUID
    deidentified(first)
    deidentified(second, by=Pseudonyms(b"other" * 8))
    assert first.StudyInstanceUID != second.StudyInstanceUID
    assert first.PatientID != second.PatientID


def test_patients_stay_apart_under_names_that_say_nothing() -> None:
    one = deidentified(dataset(PatientID="1", PatientName="Doe^Jane"))
    same = deidentified(dataset(PatientID="1", PatientName="Doe^J"))
    other = deidentified(dataset(PatientID="2", PatientName="Doe^Jane"))
    assert one.PatientID == one.PatientName == same.PatientID
    assert one.PatientID != other.PatientID


def test_what_nobody_can_judge_goes() -> None:
    source = dataset()
    source.add(DataElement(0x00091001, "LO", "private"))
    source.add(DataElement(0x00090010, "LO", "MAKER"))
    source.add(DataElement(0x00080FFF, "LO", "unknown"))
    source.add(DataElement(0x60003000, "OW", b"overlay!"))
    source.add(DataElement(0x50003000, "OW", b"curve of"))
    source.add(DataElement(0x601E4000, "LT", "comments on an overlay"))
    source.add(DataElement(0x501E0030, "SH", "units"))
    kept = set(dataset().keys())
    deidentified(source)
    assert source.keys() <= kept | {0x00120062, 0x00120063, 0x00120064, 0x00280303}


def test_the_sixteen_groups_of_overlays_and_curves_go_in_items_too() -> None:
    item = sequence_item(CodeMeaning="kept")
    for group in range(0x6000, 0x6020, 2):
        item.add(DataElement(group << 16 | 0x3000, "OW", b"overlay!"))
        item.add(DataElement((group - 0x1000) << 16 | 0x2500, "LO", "label"))
    item.add(DataElement(0x00110010, "LO", "MAKER"))
    item.add(DataElement(0x00111001, "LO", "private"))
    source = deidentified(dataset(PurposeOfReferenceCodeSequence=Sequence([item])))
    [left] = source.PurposeOfReferenceCodeSequence
    assert [element.keyword for element in left] == ["CodeMeaning"]


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00142006, "LO", "Doe^Jane"),
        (0x0040A067, "LO", "Doe^Jane"),
        (0x00081090, "PN", "Doe^Jane"),
        (0x0008041F, "LO", "20200101"),
        (0x00140102, "SH", "20200101"),
        (0x00200010, "DA", "20200101"),
        (0x00140103, "UN", b"101112"),
    ],
)
def test_names_and_moments_go_whether_they_are_written_so_or_meant(
    tag: int, vr: str, value: str | bytes
) -> None:
    item = Dataset()
    item.add(DataElement(tag, vr, value))
    source = dataset(PurposeOfReferenceCodeSequence=Sequence([item]))
    source.add(DataElement(tag, vr, value))
    deidentified(source)
    assert not source[tag].value
    assert not source.PurposeOfReferenceCodeSequence[0][tag].value


@pytest.mark.parametrize(
    ("tag", "vr", "left"),
    [(0x00080020, "TM", "000000"), (0x00080030, "DA", "19000101"), (0x00080020, "LO", "REMOVED")],
)
def test_moments_that_are_written_as_others_are_not_taken_for_moved(
    tag: int, vr: str, left: str
) -> None:
    source = dataset()
    with quiet():
        source.add(DataElement(tag, vr, "20200101", validation_mode=config.IGNORE))
    deidentified(source, _MODIFIED_DATES)
    assert source[tag].value == left


def test_each_patient_in_items_has_one_pseudonym_that_is_the_same_elsewhere() -> None:
    one = sequence_item(
        PatientName="Mouse^One", PatientID="M1", IssuerOfPatientID="A", StudyDate="20200301"
    )
    two = sequence_item(PatientName="Mouse^Two", PatientID="M2")
    same = sequence_item(PatientName="Top^A", PatientID="TOP")
    unnamed = sequence_item(PatientName="Top^A")
    source = dataset(PatientID="TOP", IssuerOfPatientID="A")
    source.SourcePatientGroupIdentificationSequence = Sequence([one, two, same, unnamed])
    alone = [
        dataset(PatientID="M1", IssuerOfPatientID="A", StudyDate="20200301"),
        dataset(PatientID="M2"),
    ]
    for each in (source, *alone):
        deidentified(each, _MODIFIED_DATES)
    items = source.SourcePatientGroupIdentificationSequence
    named = [item.PatientID for item in items[:3]]
    assert named == [alone[0].PatientID, alone[1].PatientID, source.PatientID]
    assert [item.PatientName for item in items] == [*named, source.PatientID]
    assert len(set(named)) == 3
    assert items[0].StudyDate == alone[0].StudyDate


def test_a_patient_without_an_id_gets_none_from_around() -> None:
    source = dataset(PatientID="TOP")
    source.SourcePatientGroupIdentificationSequence = Sequence([sequence_item(PatientID="")])
    deidentified(source)
    assert source.PatientID
    assert not source.SourcePatientGroupIdentificationSequence[0].PatientID


def test_items_are_dealt_with_as_deep_as_they_lie() -> None:
    inner = sequence_item(OperatorsName="Roe^Jo", CodeMeaning="kept")
    source = dataset(
        SharedFunctionalGroupsSequence=Sequence([sequence_item(RequestAttributesSequence=[])])
    )
    source.SharedFunctionalGroupsSequence[0].PurposeOfReferenceCodeSequence = Sequence([inner])
    deidentified(source)
    [group] = source.SharedFunctionalGroupsSequence
    assert "RequestAttributesSequence" not in group
    assert group.PurposeOfReferenceCodeSequence[0].OperatorsName == "REMOVED"
    assert group.PurposeOfReferenceCodeSequence[0].CodeMeaning == "kept"


def test_the_content_of_a_document_is_replaced_by_an_item_that_says_nothing() -> None:
    said = sequence_item(ValueType="TEXT", TextValue="Jane Doe fell")
    source = deidentified(dataset(ContentSequence=Sequence([said])))
    [item] = source.ContentSequence
    assert (item.ValueType, item.TextValue) == ("TEXT", "REMOVED")


def test_a_sequence_that_may_not_be_empty_is_made_of_dummies() -> None:
    text = sequence_item(UnformattedTextValue="Jane", BoundingBoxAnnotationUnits="PIXEL")
    graphic = sequence_item(GraphicLayer="DOE", TextObjectSequence=Sequence([text]))
    source = deidentified(dataset(GraphicAnnotationSequence=Sequence([graphic])))
    [replaced] = source.GraphicAnnotationSequence
    assert replaced.GraphicLayer == "REMOVED"
    assert "Jane" not in str(replaced)


def test_full_dates_stay_if_they_are_asked_for() -> None:
    option = Option.RETAIN_LONGITUDINAL_TEMPORAL_FULL_DATES
    source = deidentified(dataset(StudyDate="20200229", PatientBirthDate="19700101"), option)
    assert source.StudyDate == "20200229"
    assert not source.PatientBirthDate
    assert source.LongitudinalTemporalInformationModified == "UNMODIFIED"


def test_modified_dates_keep_their_distances_within_a_patient() -> None:
    option = Option.RETAIN_LONGITUDINAL_TEMPORAL_MODIFIED_DATES
    first = dataset(PatientID="1", StudyDate="20200229", AcquisitionDateTime="20200301101112.5")
    second = dataset(PatientID="1", StudyDate="20200301", StudyTime="101112")
    other = dataset(PatientID="2", StudyDate="20200301")
    for source in (first, second, other):
        deidentified(source, option)
    assert int(second.StudyDate) - int(first.StudyDate) in (1, 70, 71, 72, 73, 74, 8870)
    assert first.AcquisitionDateTime == second.StudyDate + "101112.5"
    assert second.StudyTime == "101112"
    assert second.StudyDate != "20200301"
    assert other.StudyDate != second.StudyDate
    assert first.LongitudinalTemporalInformationModified == "MODIFIED"


@pytest.mark.parametrize(
    "value",
    [
        "20200101 Doe^Jane",
        "20200101Doe",
        "20200101-20200105",
        "20200101101112.1234567",
        "20200101101112+0100 Jane",
        "2020010110\n",
        "2020",
        "20200230",
        "00010101",
    ],
)
def test_a_date_with_more_beside_it_is_replaced(value: str) -> None:
    source = deidentified(_with_moment(0x0008002A, value), _MODIFIED_DATES)
    assert source.AcquisitionDateTime == "19000101000000"


@pytest.mark.parametrize(
    "rest", ["", "10", "1011", "101112", "101112.5", "101112.123456+0100", "-0500", "10 ", "\0"]
)
def test_the_time_beside_a_date_stays_with_its_zone(rest: str) -> None:
    source = _with_moment(0x0008002A, f"20200101{rest}", StudyDate="20200101")
    deidentified(source, _MODIFIED_DATES)
    assert source.AcquisitionDateTime == source.StudyDate + rest.strip(" \0")


@pytest.mark.parametrize(
    ("value", "left"),
    [("101112.5", "101112.5"), ("10 ", "10"), ("101112 Doe^Jane", "000000"), ("Jane", "000000")],
)
def test_a_time_stays_and_what_is_beside_it_does_not(value: str, left: str) -> None:
    source = deidentified(_with_moment(0x00080030, value), _MODIFIED_DATES)
    assert source.StudyTime.strip() == left


@pytest.mark.parametrize("value", ["20200101 Doe^Jane", "Jane", "2020 about"])
def test_words_do_not_stay_with_full_dates(value: str) -> None:
    source = deidentified(_with_moment(0x0008002A, value), _FULL_DATES)
    assert source.AcquisitionDateTime == "19000101000000"


@pytest.mark.parametrize("value", ["2020", "2020.01.01", "20200101101112.5+0100", "20200101-"])
def test_full_dates_stay_in_the_formats_of_old_too(value: str) -> None:
    source = deidentified(_with_moment(0x0008002A, value), _FULL_DATES)
    assert source.AcquisitionDateTime == value


@pytest.mark.parametrize(
    ("before", "after"), [("MODIFIED", "MODIFIED"), ("REMOVED", "REMOVED"), ("SOME", "UNMODIFIED")]
)
def test_dates_that_were_changed_before_are_not_called_unchanged(before: str, after: str) -> None:
    option = Option.RETAIN_LONGITUDINAL_TEMPORAL_FULL_DATES
    source = deidentified(dataset(LongitudinalTemporalInformationModified=before), option)
    assert source.LongitudinalTemporalInformationModified == after


def test_options_keep_what_they_name() -> None:
    source = dataset(
        PatientSex="F",
        PatientAge="050Y",
        DeviceSerialNumber="SN1",
        InstitutionName="General",
        Allergies="nuts",
    )
    uid = source.SOPInstanceUID
    deidentified(
        source,
        Option.RETAIN_UIDS,
        Option.RETAIN_PATIENT_CHARACTERISTICS,
        Option.RETAIN_DEVICE_IDENTITY,
        Option.RETAIN_INSTITUTION_IDENTITY,
    )
    assert source.SOPInstanceUID == uid
    assert (source.PatientSex, source.PatientAge) == ("F", "050Y")
    assert (source.DeviceSerialNumber, source.InstitutionName) == ("SN1", "General")
    assert "Allergies" not in source
    codes = [code.CodeValue for code in source.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113108", "113109", "113110", "113112"]


def test_methods_that_were_applied_before_are_still_told_by_code_and_not_in_words() -> None:
    def code(scheme: str, value: str) -> Dataset:
        return sequence_item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning="Doe")

    source = dataset(
        DeidentificationMethod="By Doe",
        DeidentificationMethodCodeSequence=[
            code("DCM", "113101"),
            code("DCM", "113100"),
            code("DCM", "121106"),
            code("99DOE", "113105"),
        ],
    )
    deidentified(source, Option.RETAIN_UIDS)
    codes = source.DeidentificationMethodCodeSequence
    assert [item.CodeValue for item in codes] == ["113101", "113100", "113110"]
    assert codes[0].CodeMeaning == "Clean Pixel Data Option"
    assert "Doe" not in str(source)


def test_safe_private_attributes_stay_with_their_creator_and_no_other() -> None:
    source = dataset()
    block = source.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "1000")
    block.add_new(0x0B, "LO", "somebody")
    deidentified(source, Option.RETAIN_SAFE_PRIVATE)
    assert source[0x0019100C].value == 1000
    assert source[0x00190010].value == "SIEMENS MR HEADER"
    assert 0x0019100B not in source


@pytest.mark.parametrize("vr", ["PN", "UI", "DA", "DT", "TM", "LT", "ST", "UC", "UR", "UT", "SQ"])
def test_private_attributes_that_are_written_as_what_identifies_are_not_safe(vr: str) -> None:
    source = dataset()
    block = source.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, vr, [] if vr == "SQ" else "20200101" if vr in ("DA", "DT") else "10")
    deidentified(source, Option.RETAIN_SAFE_PRIVATE)
    assert not [tag for tag in source.keys() if tag.is_private]  # noqa: SIM118 - of elements


@pytest.mark.parametrize(
    ("creator", "group", "element", "vr", "value"),
    [
        ("GEMS_PARM_01", 0x0043, 0x27, "SH", "1.375:1"),
        ("GEMS_HELIOS_01", 0x0045, 0x01, "SS", 16),
        ("GEIIS PACS", 0x0903, 0x12, "US", 0),
        ("NQLeft", 0x0199, 0x16, "FL", 0.5),
        ("Philips PET Private Group", 0x7053, 0x09, "DS", "1.5"),
    ],
)
def test_what_the_standard_calls_safe_stays_in_whatever_block_it_is(
    creator: str, group: int, element: int, vr: str, value: Any
) -> None:
    source = dataset()
    source.private_block(group, "SOMEBODY ELSE", create=True).add_new(element, vr, value)
    block = source.private_block(group, creator, create=True)
    block.add_new(element, vr, value)
    deidentified(source, Option.RETAIN_SAFE_PRIVATE)
    left = {tag for tag in source.keys() if tag.is_private}  # noqa: SIM118 - of elements
    assert left == {block.get_tag(element), group << 16 | 0x11}


@pytest.mark.parametrize(
    ("keywords", "may"),
    [
        ({"BurnedInAnnotation": "YES"}, True),
        ({"BurnedInAnnotation": "NO", "Modality": "US"}, False),
        ({"Modality": "US"}, True),
        ({"Modality": "CT"}, False),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"}, True),
        ({"BurnedInAnnotation": "NO", "ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]}, True),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "OVERVIEW ", "NONE"]}, True),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]}, False),
        ({"ImageType": ["ORIGINAL", "LABEL"]}, False),
        ({"ImageType": "LABEL"}, False),
        ({"BurnedInAnnotation": "NO", "SpecimenLabelInImage": "YES"}, True),
        ({"SpecimenLabelInImage": "NO"}, False),
    ],
)
def test_images_that_may_name_somebody_are_told(keywords: dict[str, Any], *, may: bool) -> None:
    assert may_name_somebody(image(**keywords)) is may


@pytest.mark.parametrize(
    ("group", "bits", "position", "may"),
    [
        (0x6000, 1, 0, False),
        (0x6000, 16, 15, True),
        (0x601E, 1, 12, True),
        (0x6002, 8, 0, True),
        (0x6000, None, None, False),
    ],
)
def test_what_is_drawn_in_unused_bits_of_the_pixels_may_name_somebody(
    group: int, bits: int | None, position: int | None, *, may: bool
) -> None:
    source = image(BurnedInAnnotation="NO")
    source.add(DataElement(group << 16 | 0x0100, "US", bits))
    source.add(DataElement(group << 16 | 0x0102, "US", position))
    assert may_name_somebody(source) is may


def test_an_image_with_names_burned_in_is_refused_unless_it_is_kept() -> None:
    source = image(BurnedInAnnotation="YES")
    content, syntax_uid = part10(source), "1.2.840.10008.1.2.1"
    deidentifier = Deidentifier(Profile(), PSEUDONYMS)
    with pytest.raises(BurnedInAnnotationError):
        deidentify_file(BytesIO(content), syntax_uid, deidentifier, keeps_burned_in=False)
    found = deidentify_file(BytesIO(content), syntax_uid, deidentifier, keeps_burned_in=True)
    assert found.pixels[1] > len(source.PixelData)


def test_the_table_fits_the_dictionary() -> None:
    table = actions(frozenset())
    assert len(table) == 652
    vrs = {tag: known_vr(tag) for tag, action in table.items() if action is Action.REPLACE_UIDS}
    # The dictionary is not of the same edition.
    assert {vr for tag, vr in vrs.items() if vr is not None} == {"UI"}
    shifted = actions(frozenset([Option.RETAIN_LONGITUDINAL_TEMPORAL_MODIFIED_DATES]))
    moved = {known_vr(tag) for tag, action in shifted.items() if action is Action.SHIFT}
    assert moved - {None} == {"DA", "DT", "TM"}


def test_every_option_keeps_attributes_of_the_table_alone() -> None:
    basic = actions(frozenset())
    for option in Option:
        chosen = actions(frozenset([option]))
        assert chosen.keys() == basic.keys()
        assert chosen != basic or option is Option.RETAIN_SAFE_PRIVATE


def test_a_profile_survives_being_kept() -> None:
    profile = Profile(frozenset([Option.RETAIN_UIDS]), keeps_burned_in=True)
    assert Profile.from_json(profile.to_json()) == profile


@pytest.mark.parametrize(
    "asked",
    [
        {"profile": "none"},
        {"options": "retainUids"},
        {"options": ["cleanDescriptors"]},
        {"options": [1]},
        {"burnedInAnnotation": "clean"},
        {"option": ["retainUids"]},
        {
            "options": [
                "retainLongitudinalTemporalFullDates",
                "retainLongitudinalTemporalModifiedDates",
            ]
        },
    ],
)
def test_a_profile_that_is_not_offered_is_refused(asked: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError, match="deidentification"):
        Profile.from_json(asked)
