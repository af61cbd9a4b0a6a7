"""What is measured: steps that each server goes through in turn, one round after the other.

A step is an async generator of metrics and their values. To measure something new, write a step
and add it to STEPS where the data it needs has been stored.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import batched

from pydicom.uid import generate_uid

from bench.client import Client, RequestFailedError, Timing, timed
from bench.data import (
    File,
    StoreRequest,
    ct_series,
    large_image,
    multi_frame,
    patient_id,
)

_MEGABYTE = 1e6
_MOST_SECONDS = 2.0
_JSON = "application/dicom+json"
_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_FRAME = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
_JPEG = "image/jpeg"
_JPEG_2000 = 'multipart/related; type="image/jp2"; transfer-syntax=1.2.840.10008.1.2.4.90'
_SEARCHES = 100
_TRANSCODING_CLIENTS = 4
_TRANSCODING_BEGINS_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that is measured.

    Attributes:
        aim: The ratio that our server is to reach, None where none is set.
        is_latency: Whether less is better.
    """

    name: str
    unit: str
    aim: float | None = None
    is_latency: bool = False


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    slices: int = 100
    frames: int = 200
    clients: int = 8
    repeats: int = 300


@dataclass(frozen=True, slots=True)
class Study:
    """What one round stores on every server, and reads back."""

    uid: str
    slices: Sequence[File]
    multi_frame: File
    large_image: File

    @classmethod
    def new(cls, size: Size) -> "Study":
        uid = generate_uid()
        return cls(
            uid, ct_series(size.slices, uid), multi_frame(size.frames, uid), large_image(uid)
        )

    @property
    def path(self) -> str:
        return f"/studies/{self.uid}"

    @property
    def series_path(self) -> str:
        return f"{self.path}/series/{self.slices[0].series}"


@dataclass(frozen=True, slots=True)
class Visit:
    """One round on one server."""

    client: Client
    study: Study
    size: Size

    async def store(self, files: Sequence[File]) -> None:
        request = StoreRequest.of(files)
        await self.client.post(
            "/studies", request.pieces(), length=request.length, content_type=request.content_type
        )

    async def get(self, path: str, accept: str, at_least: int = 1) -> None:
        """Get a resource, and see that the answer has a number of bytes at least."""
        size = await self.client.get(path, accept=accept)
        if size < at_least:
            raise RequestFailedError(f"GET is answered with {size} bytes only")

    async def get_all(self, paths: Sequence[str], accept: str, at_least: int = 1) -> Timing:
        """Get resources with as many clients as the size says, a few seconds long at most."""
        jobs = (partial(self.get, path, accept, at_least) for path in paths)
        return await timed(jobs, clients=self.size.clients, most_seconds=_MOST_SECONDS)


type Step = Callable[[Visit], AsyncIterator[tuple[Metric, float]]]

_STORE = Metric("Store, 1 instance a request", "instances/s", aim=1.0)
_STORE_LATENCY = Metric("Store, 1 instance a request, p95", "ms", is_latency=True)
_STORE_TEN = Metric("Store, 10 instances a request", "instances/s", aim=1.0)
_STORE_LARGE = Metric("Store, one multi-frame instance", "MB/s", aim=1.0)
_RETRIEVE_STUDY = Metric("Retrieve, whole study", "MB/s", aim=0.5)
_RETRIEVE_INSTANCE = Metric("Retrieve, instance", "instances/s")
_FRAME_OF_SLICE = Metric("Retrieve, frame 1 of a slice", "frames/s", aim=5.0)
_FRAME_OF_MANY = Metric("Retrieve, one frame of a multi-frame", "frames/s", aim=5.0)
_RENDERED = Metric("Retrieve, rendered JPEG", "images/s")
_SERIES_METADATA = Metric("Metadata of a series, warm", "requests/s", aim=10.0)
_INSTANCE_METADATA = Metric("Metadata of an instance", "requests/s")
_SEARCH_ALONE = Metric("Search, one client alone, p50", "ms", is_latency=True)
_SEARCH_BUSY = Metric("Search while 4 clients transcode, p50", "ms", is_latency=True)
_SEARCH_SLOWDOWN = Metric("Search while transcoding / alone (at most 5)", "times", is_latency=True)


def _search(name: str) -> Metric:
    return Metric(f"Search, {name}", "requests/s", aim=2.0)


async def store_one_by_one(visit: Visit) -> AsyncIterator[tuple[Metric, float]]:
    half = visit.study.slices[: len(visit.study.slices) // 2]
    jobs = (partial(visit.store, [file]) for file in half)
    timing = await timed(jobs, clients=visit.size.clients)
    yield _STORE, timing.rate
    yield _STORE_LATENCY, timing.percentile_ms(95)


async def store_in_tens(visit: Visit) -> AsyncIterator[tuple[Metric, float]]:
    half = visit.study.slices[len(visit.study.slices) // 2 :]
    jobs = (partial(visit.store, group) for group in batched(half, 10, strict=False))
    timing = await timed(jobs, clients=2)
    yield _STORE_TEN, len(half) / timing.seconds


async def retrieve_study(visit: Visit) -> AsyncIterator[tuple[Metric, float]]:
    size = sum(file.length for file in visit.study.slices)
    times = 2
    job = partial(visit.get, visit.study.path, _DICOM, size)
    timing = await timed([job] * times, clients=1)
    yield _RETRIEVE_STUDY, times * size / _MEGABYTE / timing.seconds


async def retrieve_series_metadata(visit: Visit) -> AsyncIterator[tuple[Metric, float]]:
    job = partial(visit.get, f"{visit.study.series_path}/metadata", _JSON)
    await job()
    yield _SERIES_METADATA, (await timed([job] * 10, clients=1)).rate


async def retrieve_instances(visit: Visit) -> AsyncIterator[tuple[Metric, float]]:
    paths = [file.path for file in visit.study.slices]
    at_least = min(file.length for file in visit.study.slices)
    yield _RETRIEVE_INSTANCE, (await visit.get_all(paths, _DICOM, at_least)).rate


async def retrieve_frames(visit: Visit) -> AsyncIterator[tuple[Metric, float]]:
    paths = [f"{file.path}/frames/1" for file in visit.study.slices]
    yield _FRAME_OF_SLICE, (await visit.get_all(paths, _FRAME)).rate


async def retrieve_instance_metadata(visit: Visit) -> AsyncIterator[tuple[Metric, float]]:
    paths = [f"{file.path}/metadata" for file in visit.study.slices]
    yield _INSTANCE_METADATA, (await visit.get_all(paths, _JSON)).rate


async def retrieve_rendered(visit: Visit) -> AsyncIterator[tuple[Metric, float]]:
    paths = [f"{file.path}/rendered" for file in visit.study.slices[:20]]
    yield _RENDERED, (await visit.get_all(paths, _JPEG)).rate


async def search(visit: Visit) -> AsyncIterator[tuple[Metric, float]]:
    study = visit.study
    searches = {
        "study by Patient ID": f"/studies?PatientID={patient_id(study.uid)}",
        "series of a study": f"{study.path}/series",
        "instances of a series": f"{study.series_path}/instances?limit=100",
        "studies by date range and modality": (
            "/studies?StudyDate=20260101-20260131&ModalitiesInStudy=CT&limit=50"
        ),
    }
    for name, path in searches.items():
        timing = await visit.get_all([path] * visit.size.repeats, _JSON)
        yield _search(name), timing.rate


async def store_multi_frame(visit: Visit) -> AsyncIterator[tuple[Metric, float]]:
    file = visit.study.multi_frame
    timing = await timed([partial(visit.store, [file])], clients=1)
    yield _STORE_LARGE, file.length / _MEGABYTE / timing.seconds


async def retrieve_frames_of_many(visit: Visit) -> AsyncIterator[tuple[Metric, float]]:
    file = visit.study.multi_frame
    paths = [f"{file.path}/frames/{number}" for number in range(1, file.frames + 1)]
    yield _FRAME_OF_MANY, (await visit.get_all(paths, _FRAME)).rate


async def search_while_transcoding(visit: Visit) -> AsyncIterator[tuple[Metric, float]]:
    """A small search by one client, first alone, then while others have large frames transcoded."""
    study = visit.study
    await visit.store([study.large_image])
    search = partial(visit.get, f"/studies?PatientID={patient_id(study.uid)}", _JSON)
    transcode = partial(visit.get, f"{study.large_image.path}/frames/1", _JPEG_2000)
    await transcode()
    alone = (await timed([search] * _SEARCHES, clients=1)).percentile_ms(50)
    async with asyncio.TaskGroup() as group:
        ending = asyncio.Event()
        for _ in range(_TRANSCODING_CLIENTS):
            group.create_task(_repeat(transcode, ending))
        await asyncio.sleep(_TRANSCODING_BEGINS_SECONDS)
        busy = (await timed([search] * _SEARCHES, clients=1)).percentile_ms(50)
        ending.set()
    yield _SEARCH_ALONE, alone
    yield _SEARCH_BUSY, busy
    yield _SEARCH_SLOWDOWN, busy / alone


async def _repeat(job: Callable[[], Awaitable[None]], ending: asyncio.Event) -> None:
    while not ending.is_set():
        await job()


STEPS: tuple[Step, ...] = (
    store_one_by_one,
    store_in_tens,
    retrieve_study,
    retrieve_series_metadata,
    retrieve_instances,
    retrieve_frames,
    retrieve_instance_metadata,
    retrieve_rendered,
    search,
    store_multi_frame,
    retrieve_frames_of_many,
    search_while_transcoding,
)
