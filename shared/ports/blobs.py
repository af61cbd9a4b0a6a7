"""Bytes under names."""

from collections.abc import AsyncIterator, Buffer, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob as a listing shows it; `length` in bytes."""

    name: str
    length: int


class BlobStore(Protocol):
    """Bytes under names; a blob is created once, never changed, and deleted.

    What `put` and `put_stream` acknowledge survives a crash of the process and of the machine.
    """

    async def put(self, name: str, content: Buffer) -> None:
        """Create a blob.

        Raises:
            BlobExistsError: The name is taken.
        """

    async def put_stream(self, name: str, chunks: AsyncIterator[Buffer]) -> int:
        """Create a blob from chunks without holding it whole, and give its length in bytes.

        A failure while the chunks arrive leaves no blob of this name.

        Raises:
            BlobExistsError: The name is taken.
        """

    async def get(self, name: str) -> Buffer:
        """Read a whole, small blob.

        Raises:
            BlobNotFoundError: No such blob.
        """

    async def get_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[Buffer]:
        """Read byte ranges, each (offset, length); neighbouring ones are read together.

        Raises:
            BlobNotFoundError: No such blob.
        """

    async def length(self, name: str) -> int:
        """How many bytes a blob has.

        Raises:
            BlobNotFoundError: No such blob.
        """

    def stream(
        self, name: str, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[Buffer]:
        """Read a blob, or `length` bytes of it from `offset`, in chunks of at most about 1 MiB.

        Raises:
            BlobNotFoundError: No such blob; raised before the first chunk.
        """

    async def delete(self, names: Sequence[str]) -> None:
        """Remove blobs; a name without a blob is no error."""

    def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """List the blobs whose names begin with a prefix that ends in a slash, in any order."""

    async def list_folders(self, prefix: str) -> Sequence[str]:
        """List the distinct next segments of the names below a prefix that ends in a slash."""

    async def remove_leftovers(self, older_than: timedelta) -> int:
        """Remove what writes cut short have left behind, and tell how many there were."""

    async def check(self) -> None:
        """Touch the store, to see that it answers."""
