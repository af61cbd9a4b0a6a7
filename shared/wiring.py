"""The composition root: settings -> adapters -> services, made once a worker."""

import asyncio
import atexit
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared.adapters.export_destinations import AllowedDestinations
from shared.adapters.folder_inbox import FolderInbox
from shared.adapters.local_secrets import LocalSecrets
from shared.adapters.no_telemetry import NoTelemetry
from shared.adapters.obstore_blobs import ObstoreBlobs
from shared.adapters.sql_deletions import SqlDeletions
from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.mssql import connection_string_url, server_url
from shared.adapters.sql_index.update import SqlStudyUpdates
from shared.adapters.sql_operation_table import SqlOperationTable
from shared.adapters.sql_reindex_table import SqlReindexTable
from shared.adapters.sql_series_table import SqlSeriesTable
from shared.adapters.sql_state_table import SqlStateTable
from shared.adapters.sql_tag_table import SqlTagTable
from shared.dicomweb.cors import CorsRule
from shared.dicomweb.multipart import MultipartLimits
from shared.errors import NotSupportedError, StoreUnavailableError
from shared.fhir_wiring import FhirServices, build_fhir
from shared.ports import (
    BlobStore,
    Deletions,
    ExportDestinations,
    Inbox,
    Index,
    Secrets,
    StateTable,
    UploadAddresses,
)
from shared.services.access import Access
from shared.services.bulk_data import BulkData
from shared.services.change_feed import ChangeFeed
from shared.services.cleanup import Cleanup
from shared.services.delete import Delete
from shared.services.document_cleanup import DocumentCleanup
from shared.services.export import Export
from shared.services.export_content import ExportContent
from shared.services.export_round import ExportRounds
from shared.services.export_source import ExportSource
from shared.services.extended_query_tags import ExtendedQueryTags
from shared.services.head_writer import HeadWriter
from shared.services.health import Dependency, Health
from shared.services.images import Images
from shared.services.ingest_results import IngestResults
from shared.services.ingestion import Ingestion, PartitionFolders
from shared.services.instance_writer import InstanceWriter
from shared.services.metadata import Metadata
from shared.services.operations import Operations
from shared.services.partitions import Partitions
from shared.services.pixel_work import PixelWork
from shared.services.reindex import Reindex
from shared.services.rendering import Render
from shared.services.restore import Restore
from shared.services.retrieve import Retrieve
from shared.services.search import Search
from shared.services.series_document import SeriesDocuments
from shared.services.store import Store
from shared.services.study_update import StudyUpdater
from shared.services.tag_sets import KnownTagSet
from shared.services.transcoding import Transcoding
from shared.services.update import BulkUpdate
from shared.services.uploads import Uploads
from shared.settings import HOST_NAME, Authentication, InboxSource, Settings, SettingsError
from shared.settings import Partitions as PartitionRule
from shared.telemetry import Telemetry

if TYPE_CHECKING:
    from shared.adapters.azure_account import StorageAccount

_DICOM = "dicom"
INBOX = "inbox"
"""The container, or folder, where files arrive."""
INBOX_FAILED = "inbox-failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The use cases, and what the edge must know of the settings."""

    settings: Settings
    telemetry: Telemetry
    access: Access
    blobs: BlobStore
    index: Index
    secrets: Secrets
    state: StateTable
    partitions: Partitions
    store: Store
    store_limits: MultipartLimits
    ingestion: Ingestion
    ingest_results: IngestResults
    uploads: Uploads
    retrieve: Retrieve
    metadata: Metadata
    bulk_data: BulkData
    render: Render
    search: Search
    delete: Delete
    restore: Restore
    change_feed: ChangeFeed
    deletions: Deletions
    cleanup: Cleanup
    document_cleanup: DocumentCleanup
    operations: Operations
    extended_query_tags: ExtendedQueryTags
    reindex: Reindex
    bulk_update: BulkUpdate
    export: Export
    export_rounds: ExportRounds
    health: Health
    cors: CorsRule
    fhir_services: FhirServices | None

    @property
    def fhir(self) -> FhirServices:
        """The use cases that are about a FHIR server.

        Raises:
            NotSupportedError: There is none.
        """
        if self.fhir_services is None:
            raise NotSupportedError("No FHIR server is named here: FHIR_URL names one.")
        return self.fhir_services


_services: Services | None = None


def services() -> Services:
    """The services of this worker, made from the environment on first use."""
    global _services  # noqa: PLW0603
    if _services is None:
        # A host that does not say where it listens may listen anywhere.
        host = os.environ.get(HOST_NAME) or "an unknown address"
        _services = build(Settings.from_env({**os.environ, HOST_NAME: host}))
    return _services


def inbox_source() -> InboxSource:
    """How new files are noticed, read alone, as functions are indexed before settings are checked.

    A wrong one is named with the other mistakes, at the first request.
    """
    name = os.environ.get("INBOX_SOURCE", "").strip()
    known = {source.value: source for source in InboxSource}
    return known.get(name, InboxSource.POLLING)


def use(instead: Services | None) -> None:
    """Let this worker use other services; None lets it make its own again. For tests."""
    global _services  # noqa: PLW0603
    _services = instead


def index_url(folder: Path) -> str:
    """The database of the embedded index."""
    return f"sqlite:///{folder / 'index.sqlite'}"


def prepare() -> None:
    """See that the index has the present schema, and bring an embedded one to it.

    Run once, before any worker serves, in a process of its own: what that makes is open to nobody
    else on the machine.
    """
    from shared.adapters.sql_index.migrate import migrate  # noqa: PLC0415 - slow, needed but here

    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as error:
        sys.exit(str(error))
    os.umask(0o077)
    if not settings.has_sql_server:  # A server's is migrated before the app is deployed.
        settings.folder.mkdir(parents=True, exist_ok=True)
        migrate(index_url(settings.folder))
    try:
        asyncio.run(_check_index(settings))
    except StoreUnavailableError as error:
        sys.exit(error.message)
    _inbox(settings)  # Of files, the folder is there before anybody has a need of the services.


async def _check_index(settings: Settings) -> None:
    index = _index(settings)
    try:
        await index.check()
        await _partitions(settings, index).check()
    finally:
        await index.close()


def build(settings: Settings) -> Services:
    """Make the services; the schema of the index must be up to date."""
    telemetry, blobs, index = _watched(settings, open_blobs(settings), _index(settings))
    state, secrets, access = _state(settings, index), _secrets(settings), _access(settings)
    writer = InstanceWriter(blobs, bulk_data_threshold_bytes=settings.bulk_data_threshold_bytes)
    documents = SeriesDocuments(blobs, index, grace=settings.series_document_grace_seconds)
    images, work = Images(blobs), PixelWork()
    tags = SqlTagTable(index)
    operations = Operations(SqlOperationTable(index), settings.operation_history_seconds, secrets)
    extended_query_tags = ExtendedQueryTags(
        tags, blobs, operations, most=settings.max_extended_query_tags
    )
    source = ExportSource(index, extended_query_tags)
    destinations = _destinations(settings)
    store = Store(
        blobs,
        index,
        writer,
        orphan_age=settings.orphan_age_seconds,
        grace=settings.deleted_blob_grace_seconds,
        tag_set=KnownTagSet(tags),
        deletions=SqlDeletions(index),
    )
    results = IngestResults(state)
    inbox, addresses = _inbox(settings)
    partitions = _partitions(settings, index)
    return Services(
        settings=settings,
        telemetry=telemetry,
        access=access,
        blobs=blobs,
        index=index,
        secrets=secrets,
        state=state,
        partitions=partitions,
        store=store,
        store_limits=MultipartLimits(
            max_parts=settings.store_max_parts,
            max_part_bytes=settings.store_max_part_bytes,
            max_total_bytes=settings.store_max_request_bytes,
        ),
        ingestion=Ingestion(
            inbox,
            store,
            partitions,
            results,
            folders=PartitionFolders(
                are_served=settings.data_partitions is not PartitionRule.OFF,
                are_required=settings.data_partitions is PartitionRule.REQUIRED,
            ),
            max_file_bytes=settings.store_max_part_bytes,
            telemetry=telemetry,
        ),
        ingest_results=results,
        uploads=Uploads(addresses, results, settings.inbox_upload_seconds),
        retrieve=Retrieve(blobs, index, images, Transcoding(images, work)),
        metadata=Metadata(blobs, index, documents),
        bulk_data=BulkData(blobs, index),
        render=Render(blobs, index, images, work),
        search=Search(blobs, index),
        delete=Delete(blobs, index, grace=settings.deleted_blob_grace_seconds),
        restore=Restore(blobs, index, SqlDeletions(index), KnownTagSet(tags)),
        change_feed=ChangeFeed(blobs, index, partitions),
        deletions=SqlDeletions(index),
        document_cleanup=DocumentCleanup(
            blobs, SqlSeriesTable(index), state, grace=settings.series_document_grace_seconds
        ),
        cleanup=Cleanup(
            blobs,
            index,
            state,
            orphan_age=settings.orphan_age_seconds,
            max_orphans_per_run=settings.max_orphans_per_run,
        ),
        operations=operations,
        extended_query_tags=extended_query_tags,
        reindex=Reindex(blobs, tags, SqlReindexTable(index), operations),
        bulk_update=BulkUpdate(
            operations,
            index,
            StudyUpdater(
                blobs,
                index,
                SqlStudyUpdates(index),
                HeadWriter(blobs),
                KnownTagSet(tags),
                grace=settings.deleted_blob_grace_seconds,
                orphan_age=settings.orphan_age_seconds,
            ),
        ),
        export=Export(
            source,
            secrets,
            operations,
            destinations,
            is_offered=settings.export,
        ),
        export_rounds=ExportRounds(index, secrets, operations, destinations, ExportContent(blobs)),
        cors=CorsRule(settings.cors_allowed_origins),
        health=Health(_dependencies(index, blobs, state, secrets, access)),
        fhir_services=build_fhir(
            settings,
            blobs=blobs,
            index=index,
            state=state,
            secrets=secrets,
            operations=operations,
            source=source,
            telemetry=telemetry,
        ),
    )


def _dependencies(
    index: Index, blobs: BlobStore, state: StateTable, secrets: Secrets, access: Access
) -> dict[str, Dependency]:
    async def touch_state() -> None:
        await state.get("health", "check", "check")

    async def touch_secrets() -> None:
        await secrets.get("health-check")

    found = {
        "Index": Dependency(index.check),
        "BlobStore": Dependency(blobs.check),
        "StateTable": Dependency(touch_state, is_needed=False),
        "Secrets": Dependency(touch_secrets, is_needed=False),
    }
    if access.is_checked:
        found["Identity"] = Dependency(access.check)
    return found


def _watched(
    settings: Settings, blobs: BlobStore, index: SqlIndex
) -> tuple[Telemetry, BlobStore, SqlIndex]:
    """Telemetry, and the stores with their calls traced, where there is someone to receive it."""
    if not (settings.otlp_endpoint or settings.application_insights):
        return NoTelemetry(), blobs, index
    from shared.adapters import open_telemetry, traced  # noqa: PLC0415 - slow, needed but here

    exporters = []
    if settings.otlp_endpoint:
        exporters.append(open_telemetry.otlp_exporters(settings.otlp_endpoint))
    if settings.application_insights:
        exporters.append(
            open_telemetry.application_insights_exporters(settings.application_insights)
        )
    telemetry = open_telemetry.OpenTelemetry(exporters)
    atexit.register(telemetry.close)
    return telemetry, traced.traced_blobs(blobs, telemetry), traced.traced_index(index, telemetry)


def _access(settings: Settings) -> Access:
    if settings.authentication is Authentication.NONE:
        return Access(None)
    from shared.adapters.entra_tokens import EntraTokens  # noqa: PLC0415 - slow, needed but here

    issuer, tenant_id = settings.entra_issuer, settings.entra_tenant_id.lower()
    tokens = EntraTokens.of_tenant(issuer, tenant_id, settings.entra_audience)
    endpoint = f"{issuer.removesuffix('/v2.0')}/oauth2/v2.0/authorize"
    return Access(
        tokens,
        f'Bearer realm="{tenant_id}", authorization_uri="{endpoint}", '
        f'resource_id="{settings.entra_audience[0]}"',
    )


def open_blobs(settings: Settings, container: str = _DICOM) -> BlobStore:
    """The blobs of a container; in files, "dicom" is the data folder, any other one below it."""
    if settings.has_storage_account:
        # The storage SDK is slow to import, and needed but here.
        from shared.adapters.azure_blobs import AzureBlobs  # noqa: PLC0415

        return AzureBlobs(_account(settings), container)
    folder = settings.folder if container == _DICOM else settings.folder / container
    return ObstoreBlobs.in_folder(folder, sync=settings.embedded_sync)


def _inbox(settings: Settings) -> tuple[Inbox, UploadAddresses | None]:
    """Where files arrive, and what lets clients put them there, which a folder has not."""
    if not settings.has_storage_account:
        folders = settings.folder / INBOX, settings.folder / INBOX_FAILED
        return FolderInbox(*folders, sync=settings.embedded_sync), None
    # The storage SDK is slow to import, and needed but here.
    from shared.adapters.azure_inbox import AzureInbox  # noqa: PLC0415
    from shared.adapters.azure_uploads import AzureUploads  # noqa: PLC0415

    account = _account(settings)
    return AzureInbox(account, INBOX, INBOX_FAILED), AzureUploads(account, INBOX)


def index_database(settings: Settings) -> tuple[str, Callable[[], str] | None]:
    """The URL of the index, and what gives access tokens for it where it is on a server."""
    if not settings.has_sql_server:
        return index_url(settings.folder), None
    # Whoever has the index in a file need not load what signs in to Azure.
    from shared.adapters.sql_index.mssql_tokens import identity_tokens  # noqa: PLC0415

    if settings.sql_connection_string:
        url = connection_string_url(settings.sql_connection_string)
    else:
        url = server_url(settings.sql_server, settings.sql_database)
    return url, identity_tokens(settings.azure_client_id)


def _index(settings: Settings) -> SqlIndex:
    url, token = index_database(settings)
    return SqlIndex(
        url,
        sync=settings.embedded_sync,
        connections=settings.sql_pool_size,
        token=token,
        search_timeout=settings.search_timeout_seconds,
    )


def _destinations(settings: Settings) -> ExportDestinations:
    is_in_files = not settings.has_storage_account
    return AllowedDestinations(
        hosts=settings.export_allowed_hosts,
        own=None if is_in_files else _account(settings),
        own_containers=(_DICOM, INBOX, INBOX_FAILED),
        allows_sas=settings.export_allow_sas,
        allows_public_access=settings.export_allow_public_access,
        folder=settings.export_folder if is_in_files else None,
        client_id=settings.azure_client_id,
        sync=settings.embedded_sync,
    )


def _partitions(settings: Settings, index: Index) -> Partitions:
    return Partitions(
        index,
        are_served=settings.data_partitions is not PartitionRule.OFF,
        are_required=settings.data_partitions is PartitionRule.REQUIRED,
    )


def _state(settings: Settings, index: SqlIndex) -> StateTable:
    if settings.has_storage_account:
        from shared.adapters.azure_state_table import AzureStateTable  # noqa: PLC0415

        return AzureStateTable(_account(settings))
    return SqlStateTable(index)


def _account(settings: Settings) -> "StorageAccount":
    from shared.adapters.azure_account import StorageAccount  # noqa: PLC0415

    return StorageAccount(
        settings.data_storage,
        settings.data_storage_blob_uri,
        settings.data_storage_table_uri,
        settings.azure_client_id,
    )


def _secrets(settings: Settings) -> Secrets:
    if not settings.key_vault_uri:
        return LocalSecrets(settings.folder / "secrets.json")
    # The SDKs are slow to import, and needed but here.
    from shared.adapters.key_vault_secrets import KeyVaultSecrets  # noqa: PLC0415

    return KeyVaultSecrets(settings.key_vault_uri, settings.azure_client_id)
