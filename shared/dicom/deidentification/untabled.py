"""What becomes of attributes that Table E.1-1 lacks.

Most say nothing of anybody. Those that do are younger or older than the table, or were forgotten in
it: it has neither all UIDs of objects, nor the places where an object can be got.

Standard: PS3.15 E.1.1, which has more removed than the table where that is needed; PS3.6 (2025b).
"""

from collections.abc import Collection, Mapping

from shared.dicom.deidentification.profile import Option
from shared.dicom.deidentification.table import Action

_NOT_JUDGED = frozenset({"UN", "PN", "DA", "DT", "TM"})
"""Where an attribute of these VRs is not in the table, nobody has found it harmless."""

_TIMELESS_UIDS = frozenset(
    {
        *(0x00041510, 0x00041512, 0x0004151A, 0x00080016, 0x0008001A, 0x0008001B, 0x00080062),
        *(0x0008010C, 0x0008010D, 0x00080117, 0x00080118, 0x0008040E, 0x00081150, 0x0008115A),
        *(0x00083002, 0x00089123, 0x00340003, 0x04000010, 0x04000510, 0x30100052, 0x30100053),
    }
)
"""Of classes, transfer syntaxes and codings, some of them private: they name no object."""

_OWN: Mapping[int, Action] = {
    # Dates of birth and death, written in another calendar, and thus as texts.
    0x00100033: Action.REMOVE,
    0x00100034: Action.REMOVE,
    # The number of an animal with a registry, which knows whose it is.
    0x00102295: Action.REMOVE,
    # Retired numbers of orders: those that have replaced them are in the table.
    0x00401006: Action.REMOVE,
    0x00401007: Action.REMOVE,
    0x00402006: Action.REMOVE,
    0x00402007: Action.REMOVE,
    # Free text: on a step that was planned, and what is said in items of contexts that are kept.
    0x00400400: Action.REMOVE,
    0x0040A160: Action.REPLACE,
    # Whom to call about a procedure, and where.
    0x0074100A: Action.REMOVE,
    0x0074100C: Action.REMOVE,
    # Where the object can be got as it was: the address holds its UIDs and names its archive.
    0x00080407: Action.REMOVE,
    0x00080408: Action.REMOVE,
    0x00080409: Action.REMOVE,
    0x0008040B: Action.REMOVE,
    0x00081190: Action.REMOVE,
    0x00287FE0: Action.REPLACE,
    0x00404073: Action.REMOVE,
    0x0040A992: Action.REMOVE,
    0x0040E010: Action.REMOVE,
    # The UID of a document of HL7, though its VR is that of a text.
    0x0040E001: Action.REPLACE,
}


def action_beside_table(tag: int, vrs: Collection[str], options: Collection[Option]) -> Action:
    """What is done to an attribute that has these VRs, as it is written and as it should be."""
    if tag in _OWN:
        return _OWN[tag]
    if not _NOT_JUDGED.isdisjoint(vrs):
        return Action.EMPTY
    if "UI" not in vrs or tag in _TIMELESS_UIDS or Option.RETAIN_UIDS in options:
        return Action.KEEP
    return Action.REPLACE_UIDS
