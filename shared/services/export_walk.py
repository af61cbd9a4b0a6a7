"""The instances of the identifiers of an export, one after the other, from any position on.

A position is the place of an identifier, the watermark up to which its instances are done, and how
many they were.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from shared.dicom.resource import Level, ResourcePath
from shared.ports import Index, Partition, StoredInstance

type Position = tuple[int, int, int]

START: Position = (0, 0, 0)


def position(kept: Sequence[int]) -> Position:
    """A position, read from JSON."""
    number, watermark, done = kept
    return number, watermark, done


class Walk:
    """The instances of identifiers one after the other, each once where they overlap."""

    def __init__(self, index: Index, partition: Partition, paths: Sequence[ResourcePath]) -> None:
        self._index = index
        self._partition = partition
        self._paths = paths
        self._named = frozenset(paths)

    async def ends(self, start: Position, size: int) -> AsyncGenerator[Position]:
        """Where batches of a size end, from a position on."""
        count, end = 0, None
        async for _, end in self._steps(start):
            count += 1
            if count % size == 0:
                yield end
        if end is not None and count % size:
            yield end

    async def between(
        self, start: Position, end: Position
    ) -> AsyncIterator[tuple[ResourcePath | StoredInstance, Position]]:
        """What a batch has, with where it ends: instances, and paths at which there are none."""
        async for found, reached in self._steps(start):
            # An instance that has changed since has moved on, to a batch that is yet to come.
            if reached[:2] > end[:2]:
                return
            yield found, reached

    async def _steps(
        self, start: Position
    ) -> AsyncIterator[tuple[ResourcePath | StoredInstance, Position]]:
        first, watermark, done = start
        for number in range(first, len(self._paths)):
            path = self._paths[number]
            if self._is_covered(path):
                if await self._index.version(self._partition, path) is None:
                    yield path, (number + 1, 0, 0)
            else:
                after, has_begun = watermark, bool(watermark)
                async for instance in self._index.instances(self._partition, path, after):
                    has_begun = True
                    done += 1
                    yield instance, (number, instance.watermark, done)
                if not has_begun:
                    yield path, (number + 1, 0, 0)
            watermark = done = 0

    def _is_covered(self, path: ResourcePath) -> bool:
        """Whether what is at a path is exported with its study or series, which is named too."""
        if path.level is Level.STUDY:
            return False
        if ResourcePath(path.study) in self._named:
            return True
        return path.level is Level.INSTANCE and (
            ResourcePath(path.study, path.series) in self._named
        )
