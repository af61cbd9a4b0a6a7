"""The part of the composition root that is about a FHIR server."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_study_table import SqlStudyTable
from shared.errors import FhirAccessError
from shared.fhir_settings import FhirAuthentication
from shared.ports import BlobStore, FhirServer, Secrets, StateTable
from shared.services.export_source import ExportSource
from shared.services.fhir_dead_letters import DeadLetters
from shared.services.fhir_delivery import Delivery
from shared.services.fhir_export import FhirExport
from shared.services.fhir_reconciliation import Reconciliation
from shared.services.fhir_study_content import StudyContents
from shared.services.fhir_sync import Sync
from shared.services.operations import Operations
from shared.settings import Settings
from shared.telemetry import Telemetry

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirServices:
    """The use cases that are about a FHIR server."""

    server: FhirServer
    delivery: Delivery
    letters: DeadLetters
    sync: Sync
    export: FhirExport


def build_fhir(  # noqa: PLR0913 - what the use cases share with all others
    settings: Settings,
    *,
    blobs: BlobStore,
    index: SqlIndex,
    state: StateTable,
    secrets: Secrets,
    operations: Operations,
    source: ExportSource,
    telemetry: Telemetry,
) -> FhirServices | None:
    """Make the services; None where no FHIR server is named."""
    if not settings.fhir_url:
        return None
    server, studies, rules = _server(settings, secrets), SqlStudyTable(index), settings.sync_rules
    letters = DeadLetters(state)
    mapping = settings.mapping_rules
    contents = StudyContents(blobs, studies, mapping)
    delivery = Delivery(Reconciliation(server, contents, mapping, rules), letters)
    return FhirServices(
        server=server,
        delivery=delivery,
        letters=letters,
        sync=Sync(index, state, delivery, letters, telemetry, rules.concurrency),
        export=FhirExport(studies, source, operations, delivery, rules.concurrency),
    )


def _server(settings: Settings, secrets: Secrets) -> FhirServer:
    # The SDK is slow to import, and needed but here.
    from shared.adapters import fhir_credentials  # noqa: PLC0415
    from shared.adapters.azure_identity import app_identity  # noqa: PLC0415
    from shared.adapters.fhir_server import HttpFhirServer  # noqa: PLC0415

    url = settings.fhir_url.rstrip("/")

    async def secret() -> str:
        found = await secrets.get(settings.fhir_secret_name)
        if found is None:
            raise FhirAccessError("The secret of the FHIR client is not among the secrets.")
        return found

    async def credential() -> "TokenCredential | None":
        match settings.fhir_authentication:
            case FhirAuthentication.NONE:
                return None
            case FhirAuthentication.IDENTITY:
                return app_identity(settings.azure_client_id)
            case FhirAuthentication.CLIENT_SECRET:
                return fhir_credentials.application(
                    settings.entra_authority,
                    settings.fhir_tenant_id,
                    settings.fhir_client_id,
                    await secret(),
                )
            case FhirAuthentication.SMART:
                return fhir_credentials.SmartBackend(
                    url, settings.fhir_client_id, await secret(), settings.is_allowed_fhir_host
                )

    is_smart = settings.fhir_authentication is FhirAuthentication.SMART
    audience = (settings.fhir_audience or url).rstrip("/")
    scope = fhir_credentials.SMART_SCOPE if is_smart else f"{audience}/.default"
    # What follows the changes and an export each tell of as many studies side by side.
    return HttpFhirServer(url, credential, scope, threads=2 * settings.fhir_concurrency)
