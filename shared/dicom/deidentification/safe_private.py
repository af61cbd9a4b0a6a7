"""Private attributes that are known to identify nobody.

Of those that the Standard lists, all but sequences, UIDs, opaque bytes and what helps to read them,
and texts of any length: what is in these is for nobody to know.

Standard: PS3.15 Table E.3.10-1 (2025b).
"""

_VOLUMES = " ".join(f"{element:02X}" for element in range(0x01, 0x17))
_ELEMENTS = {
    ("ELSCINT1", 0x00E1): "21 50",
    ("ELSCINT1", 0x01E1): "26",
    ("ELSCINT1", 0x01F1): "01 07 26 27",
    ("GEMS_ACQU_01", 0x0019): "23 24 27 9E",
    ("GEIIS PACS", 0x0903): "10 11 12",
    ("GEMS_HELIOS_01", 0x0045): "01 02",
    ("GEMS_PARM_01", 0x0043): "27 39 6F",
    ("GEMS_SERS_01", 0x0025): "07",
    ("NQHeader", 0x0099): "04 10 20 21",
    ("NQLeft", 0x0199): _VOLUMES,
    ("NQRight", 0x0299): _VOLUMES,
    ("Philips Imaging DD 001", 0x2001): (
        "01 02 03 04 06 07 08 09 0A 0B 0C 0E 10 11 12 19 1A 1B 1C 1D 1E 1F 21 22 23 24 26 "
        "2D 32 33 35 36 46 47 48 4B 4C 4D 4E 55 56 61 62 63 69 6A 6E 77 7A 7B 81 82 83 84 "
        "85 86 88 89 8A 9F A3 C1 CB F1 F2"
    ),
    ("Philips MR Imaging DD 001", 0x2005): "0D 0E",
    ("Philips PET Private Group", 0x7053): "00 09",
    ("SIEMENS MR HEADER", 0x0019): "0C 0D 0E 27",
}

_SAFE = frozenset(
    (creator, group, int(element, 16))
    for (creator, group), elements in _ELEMENTS.items()
    for element in elements.split()
)


def is_safe_private(creator: str, tag: int) -> bool:
    """Whether the attribute at a tag, in a block of a creator, may be kept."""
    return (creator, tag >> 16, tag & 0xFF) in _SAFE
