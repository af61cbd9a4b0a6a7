"""Updates of whole studies, without the files they would read and write."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.update import SqlStudyUpdates
from shared.adapters.sql_tag_table import SqlTagTable
from shared.dicom.blob_names import new_blob_id
from shared.dicom.extended_query_tag import TagValues
from shared.dicom.resource import ResourcePath
from shared.dicom.uid import Uid
from shared.ports import (
    Head,
    Operation,
    OperationStatus,
    OperationType,
    Partition,
    UpdatedInstance,
)
from tests.contracts.index_data import new_instance


def new_update(now: datetime) -> Operation:
    """An operation that has not begun."""
    return Operation(
        id=uuid4().hex,
        type=OperationType.UPDATE,
        status=OperationStatus.NOT_STARTED,
        created=now,
        last_updated=now,
        percent_complete=0,
        input={},
        results=None,
    )


async def new_heads(
    index: SqlIndex, partition: Partition, study: Uid, values: Mapping[str, object], until: datetime
) -> list[UpdatedInstance]:
    """New heads for all instances of a study, prepared as if their blobs were written."""
    tags = TagValues((await SqlTagTable(index).tag_set()).version)
    made = []
    async for found in index.instances(partition, ResourcePath(study)):
        head = Head(new_blob_id(), 900, 800)
        instance = replace(
            new_instance(found.path, study=values),
            file=replace(found.file, head=head),
            tag_values=tags,
        )
        made.append(UpdatedInstance(found.watermark, head.blob_id, instance))
    await SqlStudyUpdates(index).prepare([item.head_id for item in made], until)
    return made
