"""The table against PS3.15 Table E.1-1 (2026c), as another project has read it."""

from itertools import chain

from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table_e_1_1

from shared.dicom.deidentification.profile import Option
from shared.dicom.deidentification.table import Action, actions
from shared.dicom.dictionary import known_vr

_CODES = {
    "X": table_e_1_1.X_TAGS,
    "Z": table_e_1_1.Z_TAGS,
    "D": table_e_1_1.D_TAGS,
    "U": table_e_1_1.U_TAGS,
    "X/Z": table_e_1_1.X_Z_TAGS,
    "X/D": table_e_1_1.X_D_TAGS,
    "Z/D": table_e_1_1.Z_D_TAGS,
    "X/Z/D": table_e_1_1.X_Z_D_TAGS,
    # The items stay, and UIDs in them are replaced.
    "K": table_e_1_1.X_Z_U_STAR_TAGS,
}
_MOMENTS = {"DA", "DT", "TM"}
_BIRTH_AND_PLACE = {0x00100030, 0x00100032, 0x00160077}
_NO_TEXT = {0x00080201, 0x00340007, 0x04000310}
_VALUE_OF_A_CONTENT_ITEM, _SIGNATURE = 0x0040A124, 0x04000100


def _tag(numbers: tuple[int, ...]) -> int:
    return numbers[0] << 16 | numbers[1]


def test_every_row_of_the_table_is_done_as_it_says() -> None:
    done = actions(frozenset())
    allowed = {
        _tag(numbers): code
        for code, rows in _CODES.items()
        for numbers in rows
        if len(numbers) == 2  # Those of four are masks: curves and overlays.
    }
    assert done.keys() == allowed.keys()
    assert [f"{tag:08X}" for tag in done if done[tag].value not in allowed[tag].split("/")] == []


def test_the_groups_of_the_table_are_curves_and_overlays_alone() -> None:
    masks = {numbers for numbers in chain(*_CODES.values()) if len(numbers) == 4}
    assert {numbers[0] & numbers[2] for numbers in masks} == {0x5000, 0x6000}
    assert masks <= set(table_e_1_1.X_TAGS)


def test_dates_and_times_stay_but_those_of_birth_and_of_a_place() -> None:
    basic = actions(frozenset())
    kept = actions(frozenset([Option.RETAIN_LONGITUDINAL_TEMPORAL_FULL_DATES]))
    moved = actions(frozenset([Option.RETAIN_LONGITUDINAL_TEMPORAL_MODIFIED_DATES]))
    moments = {tag for tag in basic if known_vr(tag) in _MOMENTS} - _BIRTH_AND_PLACE
    known = {tag for tag in basic if known_vr(tag) is not None}
    changed = {tag for tag in known if kept[tag] is Action.KEEP is not basic[tag]}
    assert changed == moments | _NO_TEXT
    assert {tag for tag in known if moved[tag] is Action.SHIFT} == moments
    assert {moved[tag] is basic[tag] for tag in _NO_TEXT} == {True}


def test_uids_stay_but_those_that_name_no_object() -> None:
    basic = actions(frozenset())
    kept = actions(frozenset([Option.RETAIN_UIDS]))
    uids = {tag for tag in basic if known_vr(tag) == "UI"}
    replaced = {tag for tag in uids if kept[tag] is Action.REPLACE_UIDS}
    assert replaced == {_VALUE_OF_A_CONTENT_ITEM, _SIGNATURE}
    assert {kept[tag] for tag in uids - replaced} == {Action.KEEP}


def test_devices_institutions_and_patients_keep_as_many_attributes_as_their_columns() -> None:
    basic = actions(frozenset())
    counts = {}
    for option in (
        Option.RETAIN_DEVICE_IDENTITY,
        Option.RETAIN_INSTITUTION_IDENTITY,
        Option.RETAIN_PATIENT_CHARACTERISTICS,
    ):
        kept = actions(frozenset([option]))
        counts[option.term] = sum(kept[tag] is not basic[tag] for tag in basic)
    assert counts == {
        "retainDeviceIdentity": 48,
        "retainInstitutionIdentity": 10,
        "retainPatientCharacteristics": 14,
    }
