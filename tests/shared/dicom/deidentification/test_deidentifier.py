from io import BytesIO
from typing import Any

import pytest
from pydicom import DataElement, Dataset
from pydicom.sequence import Sequence

from shared.dicom.deidentification.burned_in import may_name_somebody
from shared.dicom.deidentification.deidentifier import Deidentifier
from shared.dicom.deidentification.file import BurnedInAnnotationError, deidentify_file
from shared.dicom.deidentification.profile import Option, Profile
from shared.dicom.deidentification.pseudonyms import Pseudonyms
from shared.dicom.deidentification.table import Action, actions
from shared.dicom.dictionary import known_vr
from shared.errors import InvalidRequestError
from tests.builders import dataset, image, part10

PSEUDONYMS = Pseudonyms(b"k" * 32)


def deidentified(source: Dataset, *options: Option, by: Pseudonyms = PSEUDONYMS) -> Dataset:
    Deidentifier(Profile(frozenset(options)), by).deidentify(source)
    return source


def _item(**keywords: object) -> Dataset:
    item = Dataset()
    for keyword, value in keywords.items():
        setattr(item, keyword, value)
    return item


def test_uids_of_one_study_stay_linked() -> None:
    one, two = dataset(), dataset()
    two.StudyInstanceUID, two.FrameOfReferenceUID = one.StudyInstanceUID, "1.2.3.4"
    one.FrameOfReferenceUID = "1.2.3.4"
    reference = _item(
        ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID
    )
    two.ReferencedImageSequence = Sequence([reference])
    series = _item(SeriesInstanceUID=one.SeriesInstanceUID)
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
    item = _item(CodeMeaning="kept")
    for group in range(0x6000, 0x6020, 2):
        item.add(DataElement(group << 16 | 0x3000, "OW", b"overlay!"))
        item.add(DataElement((group - 0x1000) << 16 | 0x2500, "LO", "label"))
    item.add(DataElement(0x00110010, "LO", "MAKER"))
    item.add(DataElement(0x00111001, "LO", "private"))
    source = deidentified(dataset(PurposeOfReferenceCodeSequence=Sequence([item])))
    [left] = source.PurposeOfReferenceCodeSequence
    assert [element.keyword for element in left] == ["CodeMeaning"]


def test_items_are_dealt_with_as_deep_as_they_lie() -> None:
    inner = _item(OperatorsName="Roe^Jo", CodeMeaning="kept")
    source = dataset(SharedFunctionalGroupsSequence=Sequence([_item(RequestAttributesSequence=[])]))
    source.SharedFunctionalGroupsSequence[0].PurposeOfReferenceCodeSequence = Sequence([inner])
    deidentified(source)
    [group] = source.SharedFunctionalGroupsSequence
    assert "RequestAttributesSequence" not in group
    assert group.PurposeOfReferenceCodeSequence[0].OperatorsName == "REMOVED"
    assert group.PurposeOfReferenceCodeSequence[0].CodeMeaning == "kept"


def test_the_content_of_a_document_is_replaced_by_an_item_that_says_nothing() -> None:
    said = _item(ValueType="TEXT", TextValue="Jane Doe fell")
    source = deidentified(dataset(ContentSequence=Sequence([said])))
    [item] = source.ContentSequence
    assert (item.ValueType, item.TextValue) == ("TEXT", "REMOVED")


def test_a_sequence_that_may_not_be_empty_is_made_of_dummies() -> None:
    text = _item(UnformattedTextValue="Jane", BoundingBoxAnnotationUnits="PIXEL")
    graphic = _item(GraphicLayer="DOE", TextObjectSequence=Sequence([text]))
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
        return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning="Doe")

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
