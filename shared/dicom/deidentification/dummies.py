"""Values that say nothing, for attributes that may not be empty (PS3.15 E.1.1, 2026c)."""

from typing import Any

_TEXT = "REMOVED"
_DUMMIES: dict[str, Any] = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), _TEXT),
    **dict.fromkeys(("DS", "IS"), "0"),
    **dict.fromkeys(("FD", "FL"), 0.0),
    **dict.fromkeys(("SL", "SS", "SV", "UL", "US", "UV", "AT"), 0),
    **dict.fromkeys(("OB", "OD", "OF", "OL", "OV", "OW", "UN"), bytes(8)),
    "AS": "000D",
    "DA": "19000101",
    "DT": "19000101000000",
    "TM": "000000",
    "UR": "https://removed.invalid",
}


def dummy(vr: str) -> Any:  # noqa: ANN401 - of the type that pydicom has for the VR
    """A value of a VR that is no sequence or UID; None for a VR that is not known."""
    return _DUMMIES.get(vr)
