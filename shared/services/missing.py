"""What is said of a study, series or instance that is not there."""

from shared.dicom.resource import ResourcePath
from shared.errors import GoneError, NotFoundError
from shared.ports import Index, Partition


async def missing(
    index: Index, partition: Partition, path: ResourcePath, *, version: int
) -> NotFoundError:
    """The error for a path with nothing there; v1 does not tell what is gone from what never was.

    Standard: PS3.18 10.4.3.1 (2025b), 410.
    """
    name = path.level.name.lower()
    if version > 1 and await index.has_deletion(partition, path):
        return GoneError(f"The specified {name} has been deleted.")
    return NotFoundError(f"The specified {name} cannot be found.")
