"""An archive without images: rows of the index through its own commits, and metadata."""

from collections.abc import Iterator
from itertools import batched
from pathlib import Path

from bench.large_index import document
from shared.adapters.obstore_blobs import ObstoreBlobs
from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.migrate import migrate
from shared.dicom.blob_names import metadata_blob, new_blob_id
from shared.dicom.json_model import Document
from shared.dicom.resource import ResourcePath
from shared.dicom.searchable import indexed_attributes
from shared.dicom.uid import Uid
from shared.ports import DEFAULT_PARTITION_NAME, InstanceFile, NewInstance
from shared.services.metadata_file import MetadataFile
from shared.wiring import index_url

_AT_ONCE = 4000
_SERIES = 4
_CT = "1.2.840.10008.5.1.4.1.1.2"
_EXPLICIT = "1.2.840.10008.1.2.1"


def _data_set(study: int, series: int, number: int, uid: str) -> Document:
    return document(
        SOPClassUID=_CT,
        SOPInstanceUID=f"{uid}.{series}.{number}",
        StudyDate="20240102",
        StudyTime="030405",
        AccessionNumber=f"A{study}",
        Modality="CT",
        Manufacturer="Maker",
        ManufacturerModelName="Model",
        DeviceSerialNumber=f"{study % 10}",
        ReferringPhysicianName={"Alphabetic": "Roe^Jane"},
        StudyDescription="CT Thorax",
        SeriesDescription=f"Series {series}",
        BodyPartExamined="CHEST",
        PatientName={"Alphabetic": f"Family{study}^Given"},
        PatientID=f"P{study // 2}",
        PatientSex="F",
        TimezoneOffsetFromUTC="+0100",
        StudyInstanceUID=uid,
        SeriesInstanceUID=f"{uid}.{series}",
        SeriesNumber=series,
        InstanceNumber=number,
    )


def _instances(studies: int, instances: int) -> Iterator[tuple[NewInstance, Document, bool]]:
    """Instances, their data sets, and whether these are read: of each series the newest is."""
    for study in range(studies):
        uid = f"2.25.{10**12 + study}"
        of_series = instances // _SERIES
        for series in range(1, _SERIES + 1):
            for number in range(1, of_series + 1):
                data_set = _data_set(study, series, number, uid)
                path = ResourcePath(
                    Uid(uid), Uid(f"{uid}.{series}"), Uid(f"{uid}.{series}.{number}")
                )
                blob_id = new_blob_id()
                file = InstanceFile(blob_id, 526_000, blob_id * 2, _EXPLICIT, 1500)
                new = NewInstance(path, file, indexed_attributes(data_set))
                yield new, data_set, number == of_series


async def fill(folder: Path, studies: int, instances: int, *, has_all_metadata: bool) -> None:
    """Make an archive of so many studies of so many instances each, with rows and metadata.

    Without all metadata there are those of the newest instance of each series.
    """
    folder.mkdir(parents=True, exist_ok=True)
    migrate(index_url(folder))
    index, blobs = (
        SqlIndex(index_url(folder), sync=False),
        ObstoreBlobs.in_folder(folder, sync=False),
    )
    partition = await index.find_partition(DEFAULT_PARTITION_NAME)
    assert partition is not None
    for batch in batched(_instances(studies, instances), _AT_ONCE, strict=False):
        for new, data_set, is_read in batch:
            if is_read or has_all_metadata:
                name = metadata_blob(new.file.blob_id)
                kept = MetadataFile(partition.name, new.path, new.file, {}, data_set)
                await blobs.put(name, kept.pack())
        await index.commit(partition, [new for new, _, _ in batch])
    await index.close()
