"""Every setting of the app in one frozen value, read once from the environment."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import timedelta
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, Self, get_type_hints

from shared.dicomweb.forwarded import Network, parse_networks

HOST_BODY_LIMIT = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
HOST_BODY_LIMIT_DEFAULT_BYTES = 104_857_600
_FRAMING_BYTES = 65_536
"""Our own limit lies this far below the host's, so that the client sees our answer."""


class SettingsError(ValueError):
    """One or more settings are missing or wrong; the message names each of them."""


class Partitions(Enum):
    """Whether routes with a partition are served, and what plain routes mean."""

    OPTIONAL = "optional"
    REQUIRED = "required"
    OFF = "off"


class EmptySearchStatus(IntEnum):
    """How a search without a match is answered: with an empty array, or without a body."""

    OK = 200
    NO_CONTENT = 204


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("must be at least 1")
    return number


def _seconds(text: str) -> timedelta:
    seconds = int(text)
    if seconds < 0:
        raise ValueError("must not be negative")
    return timedelta(seconds=seconds)


def _switch(text: str) -> bool:
    match text.lower():
        case "on" | "true" | "1":
            return True
        case "off" | "false" | "0":
            return False
        case _:
            raise ValueError("must be on or off")


def _list(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


_READERS: dict[type, Callable[[str], Any]] = {
    Path: lambda text: Path(text).resolve(),
    bool: _switch,
    int: _positive,
    timedelta: _seconds,
    tuple[str, ...]: _list,
    tuple[Network, ...]: parse_networks,
    Partitions: Partitions,
    EmptySearchStatus: lambda text: EmptySearchStatus(int(text)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set, by environment variables of the same names in capitals.

    Attributes:
        data_directory: Folder of the embedded mode: blobs, index and secrets.
        embedded_sync: Whether embedded writes reach the disk before they are acknowledged.
        data_partitions: Whether data partitions are optional, required or off.
        store_max_part_bytes: Largest single DICOM file taken.
        store_max_request_bytes: Largest Store request; by default just below the host's limit.
        store_max_parts: Most parts in one Store request.
        bulk_data_threshold_bytes: Bulk values above this are left out of metadata by reference.
        search_max_limit_v2: Most studies or series of one v2 search; v1 has the reference's 200.
        search_max_limit_instances_v2: Most instances of one v2 search.
        search_timeout_seconds: How long a search may take in the index.
        empty_search_status_v2: 204, or 200 with an empty array, for a v2 search without a match.
        deleted_blob_grace_seconds: How long blobs of deleted instances stay.
        series_document_grace_seconds: How long superseded series documents stay for slow readers.
        orphan_age_seconds: Age from which a blob that no row names is removed.
        max_orphans_per_run: More orphans than this in one run stop the sweeper.
        cors_allowed_origins: Web origins whose pages may read answers; `*` stands for all.
        trusted_proxies: Addresses and networks whose Forwarded headers are believed.
    """

    data_directory: Path
    embedded_sync: bool = True
    data_partitions: Partitions = Partitions.OPTIONAL
    store_max_part_bytes: int = 4_294_967_295
    store_max_request_bytes: int = 0
    store_max_parts: int = 10_000
    bulk_data_threshold_bytes: int = 4096
    search_max_limit_v2: int = 5000
    search_max_limit_instances_v2: int = 50_000
    search_timeout_seconds: timedelta = timedelta(seconds=10)
    empty_search_status_v2: EmptySearchStatus = EmptySearchStatus.NO_CONTENT
    deleted_blob_grace_seconds: timedelta = timedelta(days=3)
    series_document_grace_seconds: timedelta = timedelta(minutes=15)
    orphan_age_seconds: timedelta = timedelta(days=1)
    max_orphans_per_run: int = 1000
    cors_allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the settings.

        Raises:
            SettingsError: Something is missing or wrong; every mistake is named at once.
        """
        values: dict[str, Any] = {}
        mistakes: list[str] = []
        types = get_type_hints(cls)
        for setting in fields(cls):
            text = env.get(setting.name.upper(), "").strip()
            try:
                if text:
                    values[setting.name] = _READERS[types[setting.name]](text)
                elif setting.default is MISSING:
                    mistakes.append(f"{setting.name.upper()} is missing")
            except ValueError as error:
                mistakes.append(f"{setting.name.upper()} is wrong: {error}")
        values, more = _with_request_limit(values, env)
        mistakes += more
        if mistakes:
            raise SettingsError("; ".join(mistakes))
        return cls(**values)


def _with_request_limit(
    values: dict[str, Any], env: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    try:
        host_limit = int(env.get(HOST_BODY_LIMIT) or HOST_BODY_LIMIT_DEFAULT_BYTES)
    except ValueError:
        return values, [f"{HOST_BODY_LIMIT} is wrong: must be a number of bytes"]
    most = host_limit - _FRAMING_BYTES
    wanted = values.get("store_max_request_bytes", most)
    if wanted > most:
        return values, [f"STORE_MAX_REQUEST_BYTES is wrong: the host takes {most} at most"]
    return {**values, "store_max_request_bytes": wanted}, []
