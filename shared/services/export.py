"""Export: copies of instances for others, in a container or a folder of theirs.

Source: Microsoft's DICOM service, "Export DICOM files".
"""

import secrets as random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson

from shared.dicom.deidentification.profile import Profile
from shared.dicom.resource import ResourcePath
from shared.dicomweb.export_container import Authorization, BlobContainer
from shared.dicomweb.export_request import (
    ExportFolder,
    ExportRequest,
    identifier,
    parse_identifier,
)
from shared.errors import DestinationRefusedError, NotFoundError, StoreUnavailableError
from shared.ports import (
    ExportDestination,
    ExportDestinations,
    Operation,
    OperationType,
    Orchestrations,
    Partition,
    Secrets,
)
from shared.services.export_source import ExportSource
from shared.services.operations import Operations

_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class ExportJob:
    """What an export does, as its operation and its secret say.

    Attributes:
        key: What pseudonyms are made with.
    """

    partition_name: str
    paths: Sequence[ResourcePath]
    place: BlobContainer | ExportFolder
    profile: Profile | None
    key: bytes

    def input(self) -> Mapping[str, Any]:
        """What may be kept in the operation: no secret."""
        place: Mapping[str, Any] = {"folder": getattr(self.place, "path", "")}
        if isinstance(self.place, BlobContainer):
            place = {"url": self.place.url, "authorization": self.place.authorization.value}
        return {
            "partition": self.partition_name,
            "identifiers": [identifier(path) for path in self.paths],
            "destination": place,
            "deidentification": None if self.profile is None else self.profile.to_json(),
        }

    def secret(self) -> str | None:
        """What must be kept in the store of secrets, None if there is nothing."""
        place_secret = getattr(self.place, "secret", "")
        if not (place_secret or self.key):
            return None
        return orjson.dumps({"destination": place_secret, "key": self.key.hex()}).decode()

    @classmethod
    def of(cls, asked: Mapping[str, Any], secret: str | None) -> "ExportJob":
        """The job of an operation's input and its secret.

        Raises:
            StoreUnavailableError: The secret is not there, yet or any more.
        """
        kept: Mapping[str, str] = orjson.loads(secret) if secret else {}
        profile, place = asked["deidentification"], _place(asked["destination"], kept)
        if secret is None and (profile or _needs_secret(place)):
            raise StoreUnavailableError("The secrets of the export are not there.")
        return cls(
            asked["partition"],
            [parse_identifier(text) for text in asked["identifiers"]],
            place,
            None if profile is None else Profile.from_json(profile),
            bytes.fromhex(kept.get("key", "")),
        )


@dataclass(frozen=True, slots=True)
class Export:
    """Starts exports.

    Attributes:
        is_offered: Whether there are exports at all.
    """

    source: ExportSource
    secrets: Secrets
    operations: Operations
    destinations: ExportDestinations
    is_offered: bool = True

    def check_offered(self) -> None:
        """See that there are exports.

        Raises:
            NotFoundError: There are none.
        """
        if not self.is_offered:
            raise NotFoundError("There is no such resource.")

    async def start(
        self, orchestrations: Orchestrations, partition: Partition, request: ExportRequest
    ) -> Operation:
        """Start an export, after it has been seen that the destination can be written to.

        Raises:
            InvalidRequestError: It cannot, it is not allowed, or the search is no search.
        """
        operation_id = uuid4().hex
        destination = self.destinations.open(operation_id, request.destination)
        try:
            job = ExportJob(
                partition.name,
                await self.source.paths(partition, request.source),
                request.destination,
                request.profile,
                random.token_bytes(_KEY_BYTES) if request.profile else b"",
            )
            await _prove(destination)
        finally:
            await destination.close()
        asked = {**job.input(), "errorHref": destination.errors_href}
        return await self._start(orchestrations, operation_id, asked, job.secret())

    async def _start(
        self,
        orchestrations: Orchestrations,
        operation_id: str,
        asked: Mapping[str, Any],
        secret: str | None,
    ) -> Operation:
        async def note(operation: Operation) -> None:
            await self.operations.table.add(operation, alone=False)
            if secret is not None:
                await self._keep(operation_id, secret)

        return await self.operations.start(
            orchestrations, OperationType.EXPORT, asked, operation_id=operation_id, note=note
        )

    async def _keep(self, operation_id: str, secret: str) -> None:
        """Keep the secret of an operation that is noted.

        In this order none is ever kept that no operation is known of: with an operation it goes at
        the latest. One that never gets its secret ends as failed.
        """
        try:
            await self.secrets.set(operation_id, secret)
        except StoreUnavailableError:
            await self.operations.finish(operation_id, has_failed=True)
            # It may have been written all the same.
            with suppress(StoreUnavailableError):
                await self.secrets.delete(operation_id)
            raise


async def _prove(destination: ExportDestination) -> None:
    """See that the destination can be written to; nobody knows but the client why it cannot."""
    try:
        await destination.begin()
    except StoreUnavailableError as error:
        raise DestinationRefusedError("The destination cannot be written to.") from error


def _place(asked: Mapping[str, Any], kept: Mapping[str, str]) -> BlobContainer | ExportFolder:
    if "folder" in asked:
        return ExportFolder(asked["folder"])
    authorization = Authorization(asked["authorization"])
    return BlobContainer(asked["url"], authorization, kept.get("destination", ""))


def _needs_secret(place: BlobContainer | ExportFolder) -> bool:
    return isinstance(place, BlobContainer) and place.authorization in (
        Authorization.SAS,
        Authorization.ACCOUNT_KEY,
    )
