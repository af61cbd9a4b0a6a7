"""Where exports go."""

from collections.abc import AsyncIterator, Buffer
from typing import Protocol

from shared.dicomweb.export_container import BlobContainer
from shared.dicomweb.export_request import ExportFolder


class ExportDestination(Protocol):
    """Where one export writes: below a folder named by the id of its operation.

    Every method raises DestinationRefusedError where the destination does not let the app write.
    """

    @property
    def errors_href(self) -> str:
        """Where the log of errors is found, for those who may read it; never a secret."""

    async def begin(self) -> None:
        """Make the log of errors, empty, which proves that the destination can be written to."""

    async def write(self, name: str, chunks: AsyncIterator[Buffer]) -> None:
        """Write a file, in the place of one of that name; it shows when it is whole."""

    async def log(self, lines: bytes) -> None:
        """Add whole lines to the log of errors."""

    async def close(self) -> None:
        """Close the connections."""


class ExportDestinations(Protocol):
    """The destinations that the settings allow."""

    def open(self, operation_id: str, place: BlobContainer | ExportFolder) -> ExportDestination:
        """Reach a destination, without touching it.

        Raises:
            InvalidRequestError: The settings do not allow it.
        """
