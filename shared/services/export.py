"""Export: copies of instances for others, in a container or a folder of theirs.

Source: Microsoft's DICOM service, "Export DICOM files".
"""

import secrets as random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson

from shared.dicom.deidentification.profile import Profile
from shared.dicom.resource import ResourcePath
from shared.dicomweb.export_container import Authorization, BlobContainer
from shared.dicomweb.export_request import (
    MAX_IDENTIFIERS,
    ExportFolder,
    ExportRequest,
    QuerySource,
    identifier,
    parse_identifier,
)
from shared.dicomweb.query import SearchQuery, parse_query
from shared.errors import (
    DestinationRefusedError,
    InvalidRequestError,
    NotFoundError,
    StoreUnavailableError,
)
from shared.ports import (
    ExportDestination,
    ExportDestinations,
    Index,
    Operation,
    OperationType,
    Orchestrations,
    Partition,
    Secrets,
)
from shared.services.operations import Operations

_KEY_BYTES = 32
_RESULTS_AT_ONCE = 5000
_KEYS_AT_ONCE = 1000
_SWITCHES = ("fuzzymatching", "multiplevaluematching", "emptyvaluematching")


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
            DestinationRefusedError: The secret is gone.
        """
        kept: Mapping[str, str] = orjson.loads(secret) if secret else {}
        profile, place = asked["deidentification"], _place(asked["destination"], kept)
        if secret is None and (profile or _needs_secret(place)):
            raise DestinationRefusedError("The secrets of the export are gone.")
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

    index: Index
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
                await self._paths(partition, request.source),
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
        if secret is not None:
            await self.secrets.set(operation_id, secret)
        try:
            return await self.operations.start(
                orchestrations, OperationType.EXPORT, asked, operation_id=operation_id
            )
        except StoreUnavailableError:
            if secret is not None:
                await self.secrets.delete(operation_id)
            raise

    async def _paths(
        self, partition: Partition, source: Sequence[ResourcePath] | QuerySource
    ) -> Sequence[ResourcePath]:
        if not isinstance(source, QuerySource):
            return source
        found: dict[ResourcePath, None] = {}
        offset = 0
        while True:
            page = await self._page(partition, _query(source, offset))
            found.update(dict.fromkeys(page))
            if len(found) > MAX_IDENTIFIERS:
                raise InvalidRequestError(
                    f"The search has more than {MAX_IDENTIFIERS} results: search at a level above,"
                    " or for less at a time."
                )
            if len(page) < _RESULTS_AT_ONCE:
                return tuple(found)
            offset += len(page)

    async def _page(self, partition: Partition, query: SearchQuery) -> Sequence[ResourcePath]:
        matches = await self.index.search(partition, query)
        paths = [match.path for match in matches.results]
        for start in range(0, len(matches.keys), _KEYS_AT_ONCE):
            keys = matches.keys[start : start + _KEYS_AT_ONCE]
            paths += [match.path for match in await self.index.matches(query.level, keys)]
        return paths


async def _prove(destination: ExportDestination) -> None:
    """See that the destination can be written to; nobody knows but the client why it cannot."""
    try:
        await destination.begin()
    except StoreUnavailableError as error:
        raise DestinationRefusedError("The destination cannot be written to.") from error


def _query(source: QuerySource, offset: int) -> SearchQuery:
    """The search; what a search would ignore is refused, lest more is exported than is meant."""
    switches = [pair for pair in source.parameters if pair[0].lower() in _SWITCHES]
    for pair in source.parameters:
        if pair not in switches and not _parsed(source, [*switches, pair]).conditions:
            raise InvalidRequestError("A parameter of the search matches nothing that is indexed.")
    page = [("limit", str(_RESULTS_AT_ONCE)), ("offset", str(offset))]
    return _parsed(source, [*source.parameters, *page])


def _parsed(source: QuerySource, pairs: Sequence[tuple[str, str]]) -> SearchQuery:
    query = parse_query(
        pairs,
        source.level,
        version=2,
        study=source.study,
        series=source.series,
        max_limit=_RESULTS_AT_ONCE,
    )
    if query.warnings:
        raise InvalidRequestError("A parameter of the search cannot be matched.")
    return query


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
