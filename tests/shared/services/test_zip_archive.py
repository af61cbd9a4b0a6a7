import tracemalloc
from collections.abc import AsyncIterator
from io import BytesIO
from zipfile import ZipFile

from shared.dicomweb.multipart import Chunk
from shared.services.zip_archive import ArchivedFile, zip_archive


async def body(chunk: bytes, count: int) -> AsyncIterator[Chunk]:
    for _ in range(count):
        yield memoryview(chunk)


async def files(*given: ArchivedFile) -> AsyncIterator[ArchivedFile]:
    for one in given:
        yield one


async def test_files_of_any_length_are_read_back() -> None:
    archive = b"".join(
        [
            chunk
            async for chunk in zip_archive(
                files(
                    ArchivedFile("a/1.dcm", 300_000, body(b"abc" * 1000, 100)),
                    ArchivedFile("a/2.dcm", None, body(b"x", 1)),
                    ArchivedFile("a/3.dcm", 1 << 33, body(b"", 0)),
                )
            )
        ]
    )
    read = ZipFile(BytesIO(archive))
    assert read.testzip() is None
    assert [(one.filename, one.file_size) for one in read.infolist()] == [
        ("a/1.dcm", 300_000),
        ("a/2.dcm", 1),
        ("a/3.dcm", 0),
    ]


async def test_no_more_than_a_chunk_is_held() -> None:
    chunk = bytes(1_000_000)
    one = ArchivedFile("1.dcm", None, body(chunk, 100))
    tracemalloc.start()
    length = 0
    async for written in zip_archive(files(one)):
        length += len(written)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert length > 100_000_000
    assert peak < 10_000_000


async def test_an_archive_of_nothing_is_an_archive() -> None:
    archive = b"".join([chunk async for chunk in zip_archive(files())])
    assert ZipFile(BytesIO(archive)).namelist() == []
