"""The worker processes: started, handed invocations, and started again when they die."""

import asyncio
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from localhost.channel import Channel
from localhost.errors import StartError, WorkerLostError
from localhost.messages import Done, Function, Invocation, Loaded, Outcome, Serve, Serving, Start
from localhost.protos import TypedData

_GRACE_SECONDS = 30
_RESTART_SECONDS = 1.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    channel: Channel
    calls: dict[int, asyncio.Future[Outcome]] = field(default_factory=dict)


class Pool:
    """A number of workers on one port."""

    def __init__(self, start: Start, size: int) -> None:
        self._start = start
        self._size = size
        self._workers: list[_Worker] = []
        self._numbers = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._client_config: str | None = None
        self._is_served = asyncio.Event()
        self._is_stopping = False

    async def load(self) -> tuple[Function, ...]:
        """Start the processes and let them load the app; they do not serve yet.

        Raises:
            StartError: The app cannot be loaded.
        """
        started = await asyncio.gather(*(self._load() for _ in range(self._size)))
        self._workers = [worker for worker, _ in started]
        return started[0][1]

    async def serve(self, client_config: str | None) -> None:
        """Let all of them listen."""
        self._client_config = client_config
        await asyncio.gather(*(self._serve(worker) for worker in self._workers))

    async def invoke(
        self, function: str, inputs: dict[str, TypedData], metadata: Mapping[str, TypedData]
    ) -> Outcome:
        """Call a function in the worker that has least to do; wait while there is none.

        Raises:
            WorkerLostError: That worker died meanwhile.
            asyncio.CancelledError: The workers are told to stop.
        """
        if self._is_stopping:
            raise asyncio.CancelledError
        while not self._workers:
            await self._is_served.wait()
        worker = min(self._workers, key=lambda worker: len(worker.calls))
        number = next(self._numbers)
        call: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        worker.calls[number] = call
        await worker.channel.send(Invocation(number, function, inputs, dict(metadata)))
        try:
            return await call
        finally:
            worker.calls.pop(number, None)

    async def stop(self) -> None:
        """Let requests and invocations under way end, then the processes."""
        self._is_stopping = True
        workers = list(self._workers)  # It shrinks as they end.
        for worker in workers:
            worker.process.send_signal(signal.SIGTERM)
        results = await asyncio.gather(
            *(asyncio.to_thread(worker.process.wait, _GRACE_SECONDS) for worker in workers),
            return_exceptions=True,
        )
        for worker, result in zip(workers, results, strict=True):
            if isinstance(result, subprocess.TimeoutExpired):
                worker.process.kill()

    async def _load(self) -> tuple[_Worker, tuple[Function, ...]]:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "localhost.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                # Ctrl-C is for the parent, which ends its workers in good order.
                process_group=0,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        worker = _Worker(process, await Channel.over(ours))
        await worker.channel.send(self._start)
        loaded: Loaded | None = await worker.channel.receive()
        if loaded is None or loaded.error is not None:
            process.kill()
            raise StartError("a worker died" if loaded is None else loaded.error)
        return worker, loaded.functions

    async def _serve(self, worker: _Worker) -> None:
        await worker.channel.send(Serve(self._client_config))
        if not isinstance(await worker.channel.receive(), Serving):
            worker.process.kill()
            self._drop(worker)
            raise StartError("a worker cannot listen")
        self._is_served.set()
        task = asyncio.create_task(self._listen(worker))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self, worker: _Worker) -> None:
        while (done := await worker.channel.receive()) is not None:
            assert isinstance(done, Done)  # noqa: S101 - the protocol has nothing else
            call = worker.calls.get(done.number)
            if call is not None and not call.done():
                call.set_result(done.outcome)
        self._drop(worker)
        await asyncio.to_thread(worker.process.wait)
        if not self._is_stopping:
            _log.error("a worker died (exit code %s); starting another", worker.process.returncode)
            await self._replace()

    def _drop(self, worker: _Worker) -> None:
        """Hand it no more, and let those know who wait for it."""
        self._workers.remove(worker)
        if not self._workers:
            self._is_served.clear()
        for call in worker.calls.values():
            if self._is_stopping:
                call.cancel()
            elif not call.done():
                call.set_exception(WorkerLostError())

    async def _replace(self) -> None:
        while not self._is_stopping:
            await asyncio.sleep(_RESTART_SECONDS)
            try:
                worker, _ = await self._load()
                self._workers.append(worker)
                await self._serve(worker)
            except StartError as error:
                _log.error("a worker cannot start: %s", error)
            else:
                return
