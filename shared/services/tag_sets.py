"""The set of extended query tags: as this process knows it, and as an index is rebuilt with it."""

from collections.abc import Sequence
from contextlib import suppress

import orjson

from shared.dicom.blob_names import TAG_SETS, tag_set_blob
from shared.dicom.extended_query_tag import NewTag, TagSet
from shared.dicom.resource import Level
from shared.errors import BlobExistsError
from shared.ports import BlobStore, TagTable


class KnownTagSet:
    """The tags that new instances are indexed by, read once; whoever finds them old reads again."""

    def __init__(self, table: TagTable) -> None:
        self._table = table
        self._known: TagSet | None = None

    async def get(self) -> TagSet:
        """The tags as they were when they were last read."""
        return self._known or await self.read()

    async def read(self) -> TagSet:
        """The tags as they are now."""
        self._known = await self._table.tag_set()
        return self._known


async def keep_tag_set(blobs: BlobStore, tag_set: TagSet) -> None:
    """Keep a set of tags as a blob too, for an index that is rebuilt from blobs alone."""
    name = tag_set_blob(tag_set.version)
    tags = [
        {
            "path": tag.tag,
            "vr": tag.vr,
            "level": tag.level.name,
            "privateCreator": tag.private_creator,
        }
        for tag in tag_set.tags
    ]
    with suppress(BlobExistsError):
        await blobs.put(name, orjson.dumps(tags))
    older = [blob.name async for blob in blobs.list(TAG_SETS) if blob.name < name]
    await blobs.delete(older)


async def kept_tag_set(blobs: BlobStore) -> tuple[Sequence[NewTag], int]:
    """The last set of tags that was kept, and its version; 0 without any."""
    names = sorted([blob.name async for blob in blobs.list(TAG_SETS)])
    if not names:
        return (), 0
    tags = [
        NewTag(
            path=tag["path"],
            vr=tag["vr"],
            level=Level[tag["level"]],
            private_creator=tag["privateCreator"],
        )
        for tag in orjson.loads(bytes(await blobs.get(names[-1])))
    ]
    return tags, int(names[-1].removeprefix(TAG_SETS).removesuffix(".json"))
