"""Decoding, encoding and rendering, away from the event loop and bounded.

The codecs and numpy let go of the interpreter while they work, so threads do; as many as there are
processors, and none that anything else waits for.
"""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

AT_ONCE = max(2, os.cpu_count() or 1)
"""How many pieces of pixel work are done at once in a process."""

_NICENESS = 10


class PixelWork:
    """Threads for pixel work alone."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(
            AT_ONCE, thread_name_prefix="pixels", initializer=_let_others_go_first
        )

    async def run[Result](self, work: Callable[[], Result]) -> Result:
        """Do a piece of work when its turn comes."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def steps(self, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
        """Give what an iterator gives, each of its steps being a piece of work."""
        while (piece := await self.run(lambda: next(pieces, None))) is not None:
            yield piece


def _let_others_go_first() -> None:
    """Lower the priority of this thread; on Linux it is the thread's own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
