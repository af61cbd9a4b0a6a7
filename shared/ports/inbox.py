"""Files that others leave to be taken in, and where they may leave them."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class InboxFile:
    """A file that waits to be taken in.

    Attributes:
        version: Another one whenever the file is written again.
        length: Bytes of the file.
        changed: When it was written, UTC.
    """

    name: str
    version: str
    length: int
    changed: datetime


class Inbox(Protocol):
    """Files that others leave under names of their own choice, until they are taken in.

    What is done to a file is done to the version that was looked at: one that is written again
    meanwhile stays, and waits anew. All raise InboxFileError where that one file may not be read,
    moved or removed.
    """

    async def open(self, name: str) -> tuple[InboxFile, AsyncIterator[bytes]]:
        """Find a file, and give its bytes in chunks of a few MiB at most.

        Raises:
            BlobNotFoundError: There is none, also later: it is gone or written again, or known to
                be written to.
        """

    def list(self) -> AsyncIterator[InboxFile]:
        """All files, in any order, but those that are known to be written to."""

    async def remove(self, file: InboxFile) -> None:
        """Remove a file; one that is gone or written again is no error."""

    async def set_aside(self, file: InboxFile, reason: bytes) -> None:
        """Move a file to where refused ones are kept, with the reason in a file beside it.

        Both are durable before it leaves the inbox, and nothing that is kept there already is
        lost. A file that is gone or written again is no error.
        """


@dataclass(frozen=True, slots=True)
class UploadAddress:
    """Where one new file of the inbox may be written, and how.

    Attributes:
        url: To be used with PUT; whoever has it may write.
        headers: What the request must have.
        expires: Until when it is good, UTC.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str]
    expires: datetime


class UploadAddresses(Protocol):
    """Addresses at which clients write to the inbox themselves."""

    async def issue(self, name: str, lifetime: timedelta) -> UploadAddress:
        """Give the address of a file that does not exist yet; it allows nothing but to make it."""
