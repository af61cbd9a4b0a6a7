"""An archive in this process that tells a real FHIR server of its studies."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydicom.dataset import Dataset

from shared.fhir_wiring import FhirServices
from shared.ports import DEFAULT_PARTITION_NAME
from shared.services.fhir_reconciliation import ReconcileOutcome
from shared.wiring import Services
from tests.archive import Client, open_archive
from tests.builders import part10
from tests.fhir_server import FhirTestServer

DICOMWEB = "http://127.0.0.1:7071/v2"
PATIENTS = "urn:x-hospital:patient"
ACCESSIONS = "urn:x-hospital:accession"


@dataclass(frozen=True)
class ToldArchive:
    """The archive, and the server that it tells."""

    services: Services
    fhir: FhirTestServer
    client: Client
    folder: Path

    @property
    def told(self) -> FhirServices:
        """The use cases that are about the FHIR server."""
        found: FhirServices = self.services.fhir
        return found

    async def store(self, *instances: Dataset, partition: str = "") -> None:
        """Store instances, in a partition or in the default one."""
        root = f"/v2/partitions/{partition}" if partition else "/v2"
        answer = await self.client.store(root, (part10(one) for one in instances))
        assert answer.status_code in (200, 202), answer.text

    async def delete(self, *uids: str, partition: str = "") -> None:
        """Delete a study, or a series or an instance of one."""
        root = f"/v2/partitions/{partition}" if partition else "/v2"
        levels = ("studies", "series", "instances")
        path = "".join(f"/{level}/{uid}" for level, uid in zip(levels, uids, strict=False))
        answer = await self.client.send("DELETE", root + path)
        assert answer.status_code == 204, answer.text

    async def tell(self, uid: str, partition: str = DEFAULT_PARTITION_NAME) -> ReconcileOutcome:
        """Bring a study to the server."""
        done = await self.told.delivery.reconciliation.reconcile(partition, uid)
        return done.outcome

    def study(self) -> dict[str, Any]:
        """The only ImagingStudy at the server."""
        return self.fhir.one("ImagingStudy")

    def versions(self) -> dict[str, str]:
        """The version of every resource at the server, by type and id."""
        types = ("Patient", "Device", "Practitioner", "ServiceRequest", "Endpoint")
        return versions(
            one for kind in (*types, "ImagingStudy", "Observation") for one in self.fhir.all(kind)
        )


def versions(resources: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Versions of resources, by type and id."""
    return {f"{one['resourceType']}/{one['id']}": one["meta"]["versionId"] for one in resources}


@asynccontextmanager
async def told_archive(
    fhir: FhirTestServer, url: str = "", **settings: str
) -> AsyncIterator[ToldArchive]:
    """An empty archive that tells an empty server, which may be reached at another address."""
    fhir.reset()
    env = {
        "FHIR_URL": url or fhir.url,
        "FHIR_DICOMWEB_URL": DICOMWEB,
        "FHIR_PATIENT_SYSTEM": PATIENTS,
        "FHIR_ACCESSION_SYSTEM": ACCESSIONS,
        **settings,
    }
    with TemporaryDirectory() as folder:
        async with open_archive(Path(folder), **env) as services:
            try:
                yield ToldArchive(services, fhir, Client(), Path(folder))
            finally:
                await services.fhir.server.close()
