"""A process that changes an index: `python -m tests.contracts.feed_writer URL WRITER`."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from shared.adapters.sql_index.index import SqlIndex
from shared.dicom.resource import ResourcePath
from shared.ports import DEFAULT_PARTITION_NAME, ChangeAction
from tests.contracts.index_data import new_instance, path

ROUNDS = 84
_CREATED, _REPLACED = 40, 10
CHANGES = ROUNDS * (_CREATED + _REPLACED + _REPLACED)
"""Of one writer."""

type Batch = list[tuple[ChangeAction, ResourcePath]]


def batches(writer: int) -> Iterator[Batch]:
    """What a writer does, transaction by transaction: create, replace some, delete those."""
    for number in range(ROUNDS):
        kept = [path(writer, number, instance) for instance in range(_CREATED - _REPLACED)]
        doomed = [path(writer, ROUNDS + number, instance) for instance in range(_REPLACED)]
        yield [(ChangeAction.CREATE, item) for item in kept + doomed]
        yield [(ChangeAction.UPDATE, item) for item in doomed]
        yield [(ChangeAction.DELETE, item) for item in doomed]


async def _write(url: str, writer: int) -> None:
    index = SqlIndex(url, sync=False)
    partition = await index.find_partition(DEFAULT_PARTITION_NAME)
    assert partition is not None
    now = datetime.now(UTC)
    for number, batch in enumerate(batches(writer)):
        action, first = batch[0]
        content = str(number).encode()
        if action is ChangeAction.DELETE:
            await index.delete(partition, ResourcePath(first.study, first.series), now)
        else:
            items = [new_instance(item, content=content) for _, item in batch]
            until = now if action is ChangeAction.UPDATE else None
            await index.commit(partition, items, replaced_until=until)
    await index.close()


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1], int(sys.argv[2])))
