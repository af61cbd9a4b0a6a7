"""Deflated data sets, inflated a piece at a time.

Positions in such a file are those it would have if its data set were not deflated.

Standard: PS3.5 A.5 (2025b).
"""

import zlib
from collections.abc import Buffer, Iterator

from shared.dicom.file_meta import FileMetaScan
from shared.dicom.header import NeedsPydicom
from shared.errors import InvalidInstanceError

_PIECE = 1 << 20


def data_set_offset(start: bytes) -> int:
    """Where the data set begins, given the first bytes of a file, at least MAX_META_LENGTH.

    Raises:
        InvalidInstanceError: There is no file meta information, or too much of it.
    """
    meta = FileMetaScan(start)
    try:
        is_longer = meta.run()
    except NeedsPydicom as error:
        raise InvalidInstanceError("The file meta information cannot be read.") from error
    if is_longer:
        raise InvalidInstanceError("The file meta information is too long.")
    return meta.position


class Inflater:
    """Inflates a data set that arrives in chunks."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    def pieces(self, chunk: Buffer) -> Iterator[bytes]:
        """What a chunk inflates to, in pieces of at most 1 MiB.

        Raises:
            InvalidInstanceError: It is not deflated.
        """
        rest: Buffer = chunk
        while True:
            try:
                piece = self._inflater.decompress(rest, _PIECE)
            except zlib.error as error:
                raise InvalidInstanceError("The data set is not deflated as declared.") from error
            if not piece:
                return
            yield piece
            rest = self._inflater.unconsumed_tail
