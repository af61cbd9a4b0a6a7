"""What identifies though the table lacks it, and what says nothing."""

import pytest
from pydicom import DataElement, Dataset
from pydicom._dicom_dict import DicomDictionary
from pydicom.sequence import Sequence

from shared.dicom.deidentification.deidentifier import Deidentifier
from shared.dicom.deidentification.profile import Option, Profile
from shared.dicom.deidentification.pseudonyms import Pseudonyms
from shared.dicom.deidentification.table import Action, actions
from shared.dicom.deidentification.untabled import action_beside_table
from shared.dicom.dictionary import known_vr
from tests.builders import dataset, sequence_item

_PRIVATE_CLASS = "1.3.6.1.4.1.55555.1"
_MODIFIED_DATES = Option.RETAIN_LONGITUDINAL_TEMPORAL_MODIFIED_DATES
_MOST_OPTIONS = tuple(option for option in Option if option is not _MODIFIED_DATES)


def deidentified(source: Dataset, *options: Option) -> Dataset:
    Deidentifier(Profile(frozenset(options)), Pseudonyms(bytes(32))).deidentify(source)
    return source


def _of_frames() -> Dataset:
    extraction = sequence_item(MultiFrameSourceSOPInstanceUID="1.2.3.55")
    return dataset(
        FrameOfReferenceUID="1.2.3.99",
        VolumeFrameOfReferenceUID="1.2.3.99",
        SOPInstanceUIDOfConcatenationSource="1.2.3.88",
        FrameExtractionSequence=Sequence([extraction]),
    )


def test_every_uid_of_an_object_is_replaced_and_stays_linked() -> None:
    source = deidentified(_of_frames())
    assert source.VolumeFrameOfReferenceUID == source.FrameOfReferenceUID != "1.2.3.99"
    assert source.SOPInstanceUIDOfConcatenationSource.startswith("2.25.")
    [extraction] = source.FrameExtractionSequence
    assert extraction.MultiFrameSourceSOPInstanceUID.startswith("2.25.")


def test_every_uid_stays_if_uids_are_retained() -> None:
    source = deidentified(_of_frames(), Option.RETAIN_UIDS)
    assert source.VolumeFrameOfReferenceUID == source.FrameOfReferenceUID == "1.2.3.99"
    assert source.SOPInstanceUIDOfConcatenationSource == "1.2.3.88"
    [extraction] = source.FrameExtractionSequence
    assert extraction.MultiFrameSourceSOPInstanceUID == "1.2.3.55"


def test_uids_that_name_no_object_stay_though_they_are_private() -> None:
    source = dataset(SOPClassUID=_PRIVATE_CLASS, OriginalSpecializedSOPClassUID=_PRIVATE_CLASS)
    code = sequence_item(CodeValue="1", CodingSchemeUID="1.2.3.4", ContextUID="1.2.3.5")
    source.PurposeOfReferenceCodeSequence = Sequence([code])
    deidentified(source)
    assert source.SOPClassUID == source.OriginalSpecializedSOPClassUID == _PRIVATE_CLASS
    [left] = source.PurposeOfReferenceCodeSequence
    assert (left.CodingSchemeUID, left.ContextUID) == ("1.2.3.4", "1.2.3.5")


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00100033, "LO", "Showa 45/01/02"),
        (0x00100034, "LO", "Reiwa 2/1/1"),
        (0x00102295, "LO", "4711"),
        (0x00401006, "SH", "ORDER-4711"),
        (0x00401007, "SH", "ORDER-4711"),
        (0x00402006, "SH", "ORDER-4711"),
        (0x00402007, "SH", "ORDER-4711"),
        (0x00400400, "LT", "Jane Doe was late"),
        (0x0040A160, "UT", "Jane Doe"),
        (0x0040E001, "ST", "1.2.3.4711^9"),
        (0x0040E010, "UR", "https://pacs.example/4711"),
        (0x00081190, "UR", "https://pacs.example/studies/4711"),
        (0x00287FE0, "UR", "https://pacs.example/4711"),
        (0x0074100A, "UR", "tel:4711"),
        (0x0074100C, "LO", "Jane Doe"),
    ],
)
@pytest.mark.parametrize("options", [(), _MOST_OPTIONS])
def test_what_identifies_goes_wherever_it_is(
    tag: int, vr: str, value: str, options: tuple[Option, ...]
) -> None:
    item = Dataset()
    item.add(DataElement(tag, vr, value))
    source = dataset(PurposeOfReferenceCodeSequence=Sequence([item]))
    source.add(DataElement(tag, vr, value))
    deidentified(source, *options)
    assert value not in str(source)


def test_nothing_is_judged_twice() -> None:
    own = {tag for tag in DicomDictionary if action_beside_table(tag, {"LO"}, ()) != Action.KEEP}
    uids = {tag for tag in DicomDictionary if action_beside_table(tag, {"UI"}, ()) == Action.KEEP}
    assert own
    assert uids
    assert {known_vr(tag) for tag in uids} == {"UI"}
    assert not (own | uids) & actions(frozenset()).keys()
