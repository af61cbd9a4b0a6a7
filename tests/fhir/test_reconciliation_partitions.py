"""One study in several data partitions is several studies, each of which is told by itself."""

import pytest

from shared.services.fhir_reconciliation import ReconcileOutcome
from tests.builders import dataset
from tests.fhir.told_archive import DICOMWEB, ToldArchive

pytestmark = pytest.mark.host

UID = "1.2.3.4"
OTHER = "Other"


@pytest.mark.parametrize("order", [("", OTHER), (OTHER, "")])
async def test_the_same_study_in_two_partitions_is_two_imaging_studies(
    archive: ToldArchive, order: tuple[str, str]
) -> None:
    for partition in order:
        await archive.store(dataset(StudyInstanceUID=UID), partition=partition)
        await archive.tell(UID, *([partition] if partition else []))

    addresses = {one["meta"]["source"] for one in archive.fhir.all("ImagingStudy")}
    assert addresses == {DICOMWEB, f"{DICOMWEB}/partitions/{OTHER}"}
    assert archive.fhir.count("ImagingStudy") == 2
    assert archive.fhir.count("Endpoint") == 2
    assert archive.fhir.count("Patient") == 1

    before = archive.versions()
    assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED
    assert await archive.tell(UID, OTHER) is ReconcileOutcome.UNCHANGED
    assert archive.versions() == before


async def test_a_study_that_is_deleted_in_one_partition_stays_in_the_other(
    archive: ToldArchive,
) -> None:
    for partition in ("", OTHER):
        await archive.store(dataset(StudyInstanceUID=UID), partition=partition)
        await archive.tell(UID, *([partition] if partition else []))

    await archive.delete(UID)
    await archive.tell(UID)

    assert archive.study()["meta"]["source"] == f"{DICOMWEB}/partitions/{OTHER}"
