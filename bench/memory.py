"""How much the memory of a server grows while one large instance passes through it."""

from collections.abc import Iterator
from pathlib import Path

from pydicom.uid import generate_uid

from bench.data import FRAME_BYTES, multi_frame
from bench.workload import Visit

_PROC = Path("/proc")


def can_be_measured() -> bool:
    """Whether this system tells a process's peak, and lets it start anew."""
    return Path("/proc/self/clear_refs").exists()


async def peak_growth_bytes(visit: Visit, process_id: int, *, size: int) -> tuple[int, int]:
    """Growth of all processes of our server from rest to peak: in a Store, and in a Retrieve."""
    file = multi_frame(-(-size // FRAME_BYTES), generate_uid())
    before = _Peaks.start(process_id)
    await visit.store([file])
    stored = before.growth()
    before = _Peaks.start(process_id)
    await visit.get(file.path, 'multipart/related; type="application/dicom"', file.length)
    return stored, before.growth()


class _Peaks:
    """The peaks of the processes of a tree, measured from now."""

    def __init__(self, at_rest: dict[int, int]) -> None:
        self._at_rest = at_rest

    @classmethod
    def start(cls, process_id: int) -> "_Peaks":
        processes = [process_id, *_descendants(process_id)]
        for process in processes:
            (_PROC / str(process) / "clear_refs").write_text("5")  # Resets the peak to the present.
        return cls({process: _status(process, "VmRSS") for process in processes})

    def growth(self) -> int:
        return sum(_status(process, "VmHWM") - rest for process, rest in self._at_rest.items())


def _descendants(process_id: int) -> Iterator[int]:
    for task in (_PROC / str(process_id) / "task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            yield child
            yield from _descendants(child)


def _status(process_id: int, name: str) -> int:
    for line in (_PROC / str(process_id) / "status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(name)
