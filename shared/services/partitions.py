"""Which data partition a request means (reference, data partitions)."""

import re
from collections.abc import Sequence

from shared.errors import InvalidRequestError, StoreUnavailableError
from shared.ports import DEFAULT_PARTITION_NAME, Index, Partition

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_MAX_REMEMBERED = 10_000


async def noted_partition(index: Index, name: str) -> Partition:
    """The partition that an operation has noted, which is there whatever routes are served."""
    found = await index.find_partition(name)
    if found is None:
        raise LookupError(name)
    return found


class Partitions:
    """Finds partitions by name; they are never renamed or removed, so found ones are remembered."""

    def __init__(self, index: Index, *, are_served: bool, are_required: bool) -> None:
        self._index = index
        self._are_served = are_served
        self._are_required = are_required
        self._known: dict[str, Partition] = {}

    async def resolve(self, name: str | None, *, create: bool) -> Partition:
        """Find the partition that a route names; None is a route without a partition.

        Raises:
            InvalidRequestError: The name is malformed or unknown, or such routes are not served.
            StoreUnavailableError: There are partitions that the settings would hide.
        """
        if name is None and self._are_required:
            raise InvalidRequestError("PartitionName value is missing in the route segment.")
        if name is not None:
            self._demand_service()
        name = DEFAULT_PARTITION_NAME if name is None else name
        known = self._known.get(name)
        if known is not None:
            return known
        if not _NAME.match(name):
            raise InvalidRequestError(
                "A partition name must have 1 to 64 letters, digits, dots, dashes or underscores."
            )
        await self.check()
        found = await (
            self._index.create_partition(name) if create else self._index.find_partition(name)
        )
        if found is None:
            raise InvalidRequestError("Specified PartitionName does not exist.")
        if len(self._known) < _MAX_REMEMBERED:
            self._known[name] = found
        return found

    async def list(self) -> Sequence[Partition]:
        """All partitions, oldest first.

        Raises:
            InvalidRequestError: Partitions are not served.
        """
        self._demand_service()
        return await self._index.list_partitions()

    async def check(self) -> None:
        """See that no partition is hidden, as all but the default one are when none is served.

        Raises:
            StoreUnavailableError: One is; the message says what to set.
        """
        if not self._are_served and len(await self._index.list_partitions()) > 1:
            raise StoreUnavailableError(
                "DATA_PARTITIONS is off, but there is more than one partition: "
                "set it to optional or required."
            )

    def base_url(self, root: str, name: str) -> str:
        """The address of a partition's resources below the service root."""
        is_plain = name == DEFAULT_PARTITION_NAME and not self._are_required
        return root if is_plain else f"{root}/partitions/{name}"

    def _demand_service(self) -> None:
        if not self._are_served:
            raise InvalidRequestError("Data partitions feature is disabled.")
