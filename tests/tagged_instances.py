"""Instances for extended query tags: made without files, and what is kept of them."""

import asyncio
from typing import Any

from pydicom.uid import generate_uid
from sqlalchemy import select

from shared.adapters.sql_index.schema import extended_query_tag, instance
from shared.adapters.sql_index.tag_values import TABLES
from shared.dicom.blob_names import metadata_blob, new_blob_id
from shared.dicom.extended_query_tag import NewTag
from shared.dicom.resource import Level, ResourcePath
from shared.dicom.searchable import indexed_attributes, tag_of
from shared.dicom.uid import Uid
from shared.dicom.value_representation import Document, element
from shared.ports import InstanceFile, NewInstance, Partition
from shared.services.metadata_file import MetadataFile
from shared.wiring import Services

TAGS = (
    NewTag(path=tag_of("PatientAge"), vr="AS", level=Level.STUDY),
    NewTag(path=tag_of("OperatorsName"), vr="PN", level=Level.SERIES),
    NewTag(path=tag_of("AcquisitionNumber"), vr="IS", level=Level.INSTANCE),
    NewTag(path=tag_of("PatientWeight"), vr="DS", level=Level.STUDY),
    NewTag(path=tag_of("AcquisitionDateTime"), vr="DT", level=Level.INSTANCE),
)


def short_uid() -> str:
    """A UID that others may begin with."""
    return generate_uid()[:50].rstrip(".")


async def value_rows(services: Services) -> list[tuple[Any, ...]]:
    """What is kept of instances for tags, by what outlives a rebuilt index."""
    index: Any = services.index

    def read(connection: Any) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for table in TABLES:
            named = (extended_query_tag.c.path, instance.c.sop_instance_uid)
            joined = table.join(
                extended_query_tag, extended_query_tag.c.tag_key == table.c.tag_key
            ).outerjoin(instance, instance.c.watermark == table.c.watermark)
            columns = (*named, table.c.value, table.c.is_newest)
            found = connection.execute(select(*columns).select_from(joined))
            rows += [(table.name, *map(str, row)) for row in found]
        return sorted(rows)

    found: list[tuple[Any, ...]] = await index.database.read(read)
    return found


def _instances(partition: Partition, count: int) -> list[tuple[NewInstance, bytes]]:
    """Instances of studies of about ten, with their metadata blobs; every 50th has a bad age."""
    made = []
    study = Uid(short_uid())
    for number in range(count):
        if number % 10 == 0:
            study = Uid(short_uid())
        at = ResourcePath(study, Uid(f"{study}.{number % 2}"), Uid(generate_uid()))
        document: Document = {
            "0008002A": element("DT", [f"2026{number % 12 + 1:02d}"]),
            "00080018": element("UI", [at.instance]),
            "00081070": element("PN", [{"Alphabetic": f"Name{number % 7}^Given"}]),
            "0020000D": element("UI", [at.study]),
            "0020000E": element("UI", [at.series]),
            "00101010": element("AS", ["bad" if number % 50 == 0 else f"{number % 100:03d}Y"]),
            "00101030": element("DS", [number / 4]),
            "00200012": element("IS", [number]),
        }
        document = dict(sorted(document.items()))
        blob_id = new_blob_id()
        file = InstanceFile(blob_id, 1000, blob_id * 2, "1.2.840.10008.1.2.1")
        metadata = MetadataFile(partition.name, at, file, {}, document)
        made.append((NewInstance(at, file, indexed_attributes(document)), metadata.pack()))
    return made


async def fill(services: Services, partition: Partition, count: int) -> list[ResourcePath]:
    """Put instances into the index, and their metadata alone into blobs."""
    made = _instances(partition, count)
    for start in range(0, count, 500):
        some = made[start : start + 500]
        await asyncio.gather(
            *(services.blobs.put(metadata_blob(one.file.blob_id), data) for one, data in some)
        )
        await services.index.commit(partition, [one for one, _ in some])
    return [one.path for one, _ in made]
