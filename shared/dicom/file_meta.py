"""The preamble and the file meta information of a Part 10 file.

Standard: PS3.10 7.1 (2025b).
"""

from struct import Struct

from shared.dicom.header import NeedsPydicom
from shared.dicom.preamble import PREAMBLE_LENGTH, PreambleKind, kind_of_preamble
from shared.dicom.transfer_syntax import TransferSyntax, transfer_syntax
from shared.dicom.uid import parse_uid
from shared.dicom.value_representation import CONVERT, LONG_VRS, PADDING
from shared.dicom.window import Window
from shared.errors import InvalidInstanceError, InvalidUidError

PREFIXED_LENGTH = PREAMBLE_LENGTH + 4
MAX_META_LENGTH = 1 << 20

_PREFIX = b"DICM"
_META_ELEMENT = Struct("<HH2sH").unpack_from
_LENGTH = Struct("<I").unpack_from
_META_GROUP = 2
_HEADER_LENGTH, _LONG_HEADER_LENGTH = 8, 12
_VR_CODES = frozenset(vr.encode() for vr in CONVERT)
_LONG_VR_CODES = frozenset(vr.encode() for vr in LONG_VRS)
_SOP_CLASS_UID, _SOP_INSTANCE_UID, _TRANSFER_SYNTAX_UID = 0x0002, 0x0003, 0x0010


class FileMetaScan(Window):
    """A scan up to the data set."""

    def __init__(self, buffer: bytes = b"") -> None:
        super().__init__(buffer)
        self.preamble = PreambleKind.ABSENT
        self._uids: dict[int, str] = {}
        self.is_complete = False

    def run(self) -> int:
        """Read on, and give 0 at the end, or how many bytes from `position` are needed before.

        Raises:
            NeedsPydicom: There is no preamble, or something else than file meta information.
            InvalidInstanceError: It is too long.
        """
        needed = self._prefix() if self.preamble is PreambleKind.ABSENT else 0
        while not needed and not self.is_complete:
            needed = self._element()
        return needed

    def _prefix(self) -> int:
        if len(self.buffer) < PREFIXED_LENGTH:
            return PREFIXED_LENGTH
        if not self.buffer.startswith(_PREFIX, PREAMBLE_LENGTH):
            raise NeedsPydicom
        self.preamble = kind_of_preamble(self.buffer[:PREAMBLE_LENGTH])
        self.position = PREFIXED_LENGTH
        return 0

    def _element(self) -> int:
        at = self.position
        if at + _HEADER_LENGTH > len(self.buffer):
            return _HEADER_LENGTH
        group, element, vr, length = _META_ELEMENT(self.buffer, at)
        if group != _META_GROUP:
            self.is_complete = True
            return 0
        if vr not in _VR_CODES:
            raise NeedsPydicom
        if vr not in _LONG_VR_CODES:
            return self._value(element, vr, (at + _HEADER_LENGTH, length))
        if at + _LONG_HEADER_LENGTH > len(self.buffer):
            return _LONG_HEADER_LENGTH
        (length,) = _LENGTH(self.buffer, at + _HEADER_LENGTH)
        return self._value(element, vr, (at + _LONG_HEADER_LENGTH, length))

    def _value(self, element: int, vr: bytes, field: tuple[int, int]) -> int:
        start, length = field
        end = start + length
        if self.base + end > MAX_META_LENGTH:
            raise InvalidInstanceError("The file meta information is too long.")
        if end > len(self.buffer):
            return end - self.position
        if vr == b"UI":
            self._uids[element] = self.buffer[start:end].decode("latin-1").rstrip(PADDING)
        self.position = end
        return 0

    def transfer_syntax(self) -> TransferSyntax:
        """The transfer syntax that is declared.

        Raises:
            InvalidInstanceError: None is, or no UID.
        """
        uid = self._uids.get(_TRANSFER_SYNTAX_UID)
        if uid is None:
            raise InvalidInstanceError("The file meta information lacks a transfer syntax.")
        try:
            return transfer_syntax(parse_uid(uid))
        except InvalidUidError as error:
            raise InvalidInstanceError("The transfer syntax is not a UID.") from error

    @property
    def sop_class_uid(self) -> str | None:
        """Media Storage SOP Class UID, as it is written."""
        return self._uids.get(_SOP_CLASS_UID)

    @property
    def sop_instance_uid(self) -> str | None:
        """Media Storage SOP Instance UID, as it is written."""
        return self._uids.get(_SOP_INSTANCE_UID)
