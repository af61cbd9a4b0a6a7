"""Threads that belong to one adapter, for calls that wait for a network or a disk.

Those that asyncio has for everyone are few, and the work of requests is done there: a service that
says nothing must not keep them.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial

_THREADS = 8


class OwnThreads:
    """As many threads as calls wait at once, up to a number; further ones wait for a thread."""

    def __init__(self, name: str, threads: int = _THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run[**P, R](self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in one of them, with the context of who asks, as asyncio.to_thread."""
        call = partial(copy_context().run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def close(self) -> None:
        """Let the threads end with what they do now."""
        self._threads.shutdown(wait=False)
