"""Every setting of the app in one frozen value, read once from the environment."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import timedelta
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, Self, get_type_hints
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import ZoneInfo

from shared.dicomweb.forwarded import Network, parse_networks
from shared.fhir_settings import FhirSettings, Pairs, read_pairs, read_time_zone
from shared.loopback import is_this_machine

HOST_BODY_LIMIT = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
HOST_BODY_LIMIT_DEFAULT_BYTES = 104_857_600
HOST_NAME = "WEBSITE_HOSTNAME"
"""Where the host is reached, `name:port`; Azure, Core Tools and our local host say it."""

_SET_ON_AZURE = ("WEBSITE_INSTANCE_ID", "WEBSITE_SITE_NAME")
_EXPORT_HOST = re.compile(r"(\*\.[a-z0-9-]+\.)?[a-z0-9.-]*[a-z0-9](:[0-9]{1,5})?", re.IGNORECASE)
"""A star stands for what comes before two names at least."""
_FRAMING_BYTES = 65_536
"""Our own limit lies this far below the host's, so that the client sees our answer."""
_LONGEST_SECONDS = 3_153_600_000
"""A hundred years, in which calendars still count."""


class SettingsError(ValueError):
    """One or more settings are missing or wrong; the message names each of them."""


class Partitions(Enum):
    """Whether routes with a partition are served, and what plain routes mean."""

    OPTIONAL = "optional"
    REQUIRED = "required"
    OFF = "off"


class Authentication(Enum):
    """Whether callers must prove who they are."""

    NONE = "none"
    ENTRA = "entra"


class InboxSource(Enum):
    """How the blob trigger learns of new files; `LogsAndContainerScan` polls."""

    POLLING = "LogsAndContainerScan"
    EVENT_GRID = "EventGrid"


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
    if seconds > _LONGEST_SECONDS:
        raise ValueError(f"must be at most {_LONGEST_SECONDS}")
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


# Texts, and what is chosen by name, are made of the text by their own types.
_READERS: dict[Any, Callable[[str], Any]] = {
    Path | None: lambda text: Path(text).resolve(),
    bool: _switch,
    int: _positive,
    timedelta: _seconds,
    tuple[str, ...]: _list,
    tuple[Network, ...]: parse_networks,
    Pairs: read_pairs,
    ZoneInfo | None: read_time_zone,
    EmptySearchStatus: lambda text: EmptySearchStatus(int(text)),
}

_BOUNDS: Mapping[str, tuple[float, float]] = {
    "sql_pool_size": (3, math.inf),
    "search_timeout_seconds": (1, math.inf),
    # Azure gives no key for more than seven days, and one is got that lasts a day longer.
    "inbox_upload_seconds": (1, 518_400),
}
"""What some numbers must lie within, both included; all others have bounds of their kind only."""


def _named(name: str, *, is_secret: bool = False) -> str:
    """A text that is set under a name of Azure's."""
    text: str = field(default="", repr=not is_secret, metadata={"name": name})
    return text


def setting_name(setting: Field[Any]) -> str:
    """The environment variable of a field of Settings."""
    return str(setting.metadata.get("name", setting.name.upper()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(FhirSettings):
    """What can be set, by environment variables of the same names in capitals, or of Azure's.

    Attributes:
        data_directory: Folder of whatever is embedded: blobs, index, secrets.
        data_storage: Connection string of the storage account; without it and the URIs, files.
        data_storage_blob_uri: Blob service of the account, to be used by the app's identity.
        data_storage_table_uri: Table service of the account, likewise.
        azure_client_id: Client ID of the app's user-assigned identity.
        sql_server: Host name of Azure SQL, to be used by the app's identity; without it and a
            connection string, SQLite.
        sql_database: Name of the database there.
        sql_connection_string: An ODBC connection string instead of the two.
        sql_pool_size: Most connections of one worker process, at least three.
        key_vault_uri: Key Vault with the secrets; without it, a file.
        authentication: Whether callers must prove who they are.
        allow_unauthenticated: Lets `none` be served beyond this machine; never on Azure.
        entra_tenant_id: Tenant whose tokens are taken.
        entra_audience: Audiences that tokens may be made for.
        entra_authority: Where the tenant's signing keys are found.
        function_keys: Whether the host demands a function key of every caller.
        inbox_source: How new files of the inbox are noticed.
        inbox_upload_seconds: How long the address of an upload is good, at most six days.
        inbox_result_seconds: How long it can be asked what became of a file of the inbox.
        application_insights: Connection string of Application Insights.
        otlp_endpoint: Where traces and metrics are sent by OTLP over HTTP.
        embedded_sync: Whether embedded writes reach the disk before they are acknowledged.
        data_partitions: Whether data partitions are optional, required or off.
        store_max_part_bytes: Largest single DICOM file taken.
        store_max_request_bytes: Largest Store request; by default just below the host's limit.
        store_max_parts: Most parts in one Store request.
        bulk_data_threshold_bytes: Bulk values above this are left out of metadata by reference.
        search_max_limit_v2: Most studies or series of one v2 search; v1 has the reference's 200.
        search_max_limit_instances_v2: Most instances of one v2 search.
        search_timeout_seconds: How long a search may take in the index, at least a second.
        empty_search_status_v2: 204, or 200 with an empty array, for a v2 search without a match.
        max_extended_query_tags: Most extended query tags.
        export: Whether instances can be exported.
        export_allowed_hosts: Blob services that exports may go to, besides the data's own.
        export_allow_sas: Whether exports may be authorized by shared access signatures.
        export_allow_public_access: Whether exports may go without any authorization.
        export_folder: Below which folders exports may go to, where data are in files; apart from
            the data directory.
        deleted_blob_grace_seconds: How long blobs of deleted instances stay.
        series_document_grace_seconds: How long superseded series documents stay for slow readers.
        orphan_age_seconds: Age from which a blob that no row names is removed.
        max_orphans_per_run: More orphans than this in one run stop the sweeper.
        operation_history_seconds: How long a finished operation can be asked for.
        cors_allowed_origins: Web origins whose pages may read answers; `*` stands for all.
        trusted_proxies: Addresses and networks whose Forwarded headers are believed.
    """

    data_directory: Path | None = None
    data_storage: str = field(default="", repr=False)
    data_storage_blob_uri: str = _named("DATA_STORAGE__blobServiceUri")
    data_storage_table_uri: str = _named("DATA_STORAGE__tableServiceUri")
    azure_client_id: str = ""
    sql_server: str = ""
    sql_database: str = ""
    sql_connection_string: str = field(default="", repr=False)
    sql_pool_size: int = 8
    key_vault_uri: str = ""
    authentication: Authentication = Authentication.NONE
    allow_unauthenticated: bool = False
    entra_tenant_id: str = ""
    entra_audience: tuple[str, ...] = ()
    entra_authority: str = "https://login.microsoftonline.com"
    function_keys: bool = False
    inbox_source: InboxSource = InboxSource.POLLING
    inbox_upload_seconds: timedelta = timedelta(hours=1)
    inbox_result_seconds: timedelta = timedelta(days=7)
    application_insights: str = _named("APPLICATIONINSIGHTS_CONNECTION_STRING", is_secret=True)
    otlp_endpoint: str = _named("OTEL_EXPORTER_OTLP_ENDPOINT")
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
    max_extended_query_tags: int = 128
    export: bool = True
    export_allowed_hosts: tuple[str, ...] = ()
    export_allow_sas: bool = True
    export_allow_public_access: bool = True
    export_folder: Path | None = None
    deleted_blob_grace_seconds: timedelta = timedelta(days=3)
    series_document_grace_seconds: timedelta = timedelta(minutes=15)
    orphan_age_seconds: timedelta = timedelta(days=1)
    max_orphans_per_run: int = 1000
    operation_history_seconds: timedelta = timedelta(days=7)
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
            text = env.get(setting_name(setting), "").strip()
            try:
                if text:
                    values[setting.name] = _read(text, types[setting.name], setting.name)
            except ValueError as error:
                mistakes.append(f"{setting_name(setting)} is wrong: {error}")
        values, more = _with_request_limit(values, env)
        settings = cls(**values)
        mistakes += [
            *more,
            *settings._contradictions(),
            *settings.fhir_mistakes(),
            *settings._openings(env),
        ]
        if mistakes:
            raise SettingsError("; ".join(mistakes))
        return settings

    @property
    def folder(self) -> Path:
        """The data directory where something is embedded."""
        if self.data_directory is None:
            raise SettingsError("DATA_DIRECTORY is missing")
        return self.data_directory

    @property
    def has_storage_account(self) -> bool:
        """Whether blobs and tables are in a storage account, not in files."""
        return bool(self.data_storage or self.data_storage_blob_uri)

    @property
    def has_sql_server(self) -> bool:
        """Whether the index is on SQL Server or Azure SQL, not on SQLite."""
        return bool(self.sql_connection_string or self.sql_server)

    @property
    def entra_issuer(self) -> str:
        """The issuer of the tenant's tokens; what it is like lies below this address."""
        return f"{self.entra_authority.rstrip('/')}/{self.entra_tenant_id.lower()}/v2.0"

    def _contradictions(self) -> list[str]:
        is_embedded = not (self.has_storage_account and self.has_sql_server and self.key_vault_uri)
        found = []
        if is_embedded and self.data_directory is None:
            found.append("DATA_DIRECTORY is missing")
        if self._exports_meet_data():
            found.append(
                "EXPORT_FOLDER is wrong: neither it nor DATA_DIRECTORY may lie in the other"
            )
        if bool(self.data_storage_blob_uri) is not bool(self.data_storage_table_uri):
            found.append("DATA_STORAGE__blobServiceUri and DATA_STORAGE__tableServiceUri: set both")
        if bool(self.sql_server) is not bool(self.sql_database):
            found.append("SQL_SERVER and SQL_DATABASE: set both")
        if not all(map(_EXPORT_HOST.fullmatch, self.export_allowed_hosts)):
            found.append(
                "EXPORT_ALLOWED_HOSTS is wrong: must be host names, each maybe with a port"
            )
        if self.authentication is Authentication.ENTRA:
            found += self._mistakes_about_tokens()
        return found

    def _exports_meet_data(self) -> bool:
        """Whether what is exported would lie among the data, or these among what is exported."""
        folder, data = self.export_folder, self.data_directory
        if folder is None or data is None:
            return False
        return folder.is_relative_to(data) or data.is_relative_to(folder)

    def _mistakes_about_tokens(self) -> list[str]:
        found = []
        if not self.entra_tenant_id:
            found.append("ENTRA_TENANT_ID is missing")
        elif not _is_guid(self.entra_tenant_id):
            found.append("ENTRA_TENANT_ID is wrong: must be the ID of one tenant, a GUID")
        if not self.entra_audience:
            found.append("ENTRA_AUDIENCE is missing")
        authority = urlsplit(self.entra_authority)
        is_here = authority.scheme == "http" and is_this_machine(authority.netloc)
        if authority.scheme != "https" and not is_here:
            found.append("ENTRA_AUTHORITY is wrong: must be an HTTPS address")
        return found

    def _openings(self, env: Mapping[str, str]) -> list[str]:
        """What lets strangers in; without a name of the host, nothing is served."""
        if self.authentication is not Authentication.NONE:
            return []
        if any(env.get(name) for name in _SET_ON_AZURE):
            return ["AUTHENTICATION is none, which is refused on Azure: set it to entra"]
        host = env.get(HOST_NAME)
        if self.allow_unauthenticated or not host or is_this_machine(host):
            return []
        return [
            f"AUTHENTICATION is none, which is refused where others may call ({host}): set it to"
            " entra, or ALLOW_UNAUTHENTICATED to on"
        ]


def demands_function_keys(env: Mapping[str, str]) -> bool:
    """Read FUNCTION_KEYS alone: functions are registered before the other settings are needed.

    Raises:
        SettingsError: It is neither on nor off.
    """
    try:
        return _switch(env.get("FUNCTION_KEYS", "").strip() or "off")
    except ValueError as error:
        raise SettingsError(f"FUNCTION_KEYS is wrong: {error}") from error


def _read(text: str, kind: Any, name: str) -> object:  # noqa: ANN401 - any type of a field
    value = _READERS.get(kind, kind)(text)
    if name in _BOUNDS:
        least, most = _BOUNDS[name]
        if int(text) < least:
            raise ValueError(f"must be at least {least}")
        if int(text) > most:
            raise ValueError(f"must be at most {most}")
    return value


def _is_guid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def _with_request_limit(
    values: dict[str, Any], env: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    try:
        host_limit = int(env.get(HOST_BODY_LIMIT) or HOST_BODY_LIMIT_DEFAULT_BYTES)
    except ValueError:
        return values, [f"{HOST_BODY_LIMIT} is wrong: must be a number of bytes"]
    if host_limit <= _FRAMING_BYTES:
        return values, [f"{HOST_BODY_LIMIT} is wrong: must be above {_FRAMING_BYTES}"]
    most = host_limit - _FRAMING_BYTES
    wanted = values.get("store_max_request_bytes", most)
    if wanted > most:
        return values, [f"STORE_MAX_REQUEST_BYTES is wrong: the host takes {most} at most"]
    return {**values, "store_max_request_bytes": wanted}, []
