"""The function app, loaded and invoked through Microsoft's own worker library.

So what is indexed, which bindings are understood and how functions are called is decided by the
code that runs on Azure; only the messages do not travel.
"""

import itertools
import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as runtime
from azure_functions_runtime import http_v2

from localhost import protos
from localhost.blobs import FOLDER_CONNECTION
from localhost.messages import Function, Outcome
from localhost.protos import ParameterBinding, RpcHttp, TypedData

_log = logging.getLogger(__name__)


class AppError(Exception):
    """The app cannot be loaded; the text says why."""


class App:
    """One loaded app; there is one in a process, as the library keeps its state in modules."""

    def __init__(self, functions: tuple[Function, ...]) -> None:
        self.functions = functions
        self.client_config: str | None = None
        self._by_name = {function.name: function for function in functions}
        self._numbers = itertools.count()

    @classmethod
    async def load(cls, folder: Path) -> "App":
        """Import and index the app in a folder.

        Raises:
            AppError: It cannot be imported, or the library refuses one of its functions.
        """
        runtime.start_threadpool_executor()
        os.environ[FOLDER_CONNECTION] = "UseDevelopmentStorage=true"
        sys.path.insert(0, str(folder))
        os.chdir(folder)
        # It logs every step of every invocation.
        logging.getLogger("azure.functions").setLevel(logging.WARNING)
        _without_http_server()
        init = SimpleNamespace(capabilities={}, function_app_directory=str(folder))
        answer = await runtime.worker_init_request(
            SimpleNamespace(
                request=SimpleNamespace(worker_init_request=init),
                properties={"host": "127.0.0.1", "protos": protos},
            )
        )
        if answer.result.status != protos.StatusResult.Success:
            exception = answer.result.exception
            raise AppError(f"{exception.message}\n{exception.stack_trace}")
        metadata = await runtime.functions_metadata_request(SimpleNamespace())
        return cls(
            tuple(
                Function(found.name, found.function_id, tuple(map(json.loads, found.raw_bindings)))
                for found in metadata.function_metadata_results or ()
            )
        )

    async def answer(self, name: str, request: Any, params: Mapping[str, str]) -> Any:
        """Call an HTTP function, and give what it returned or raised."""
        function = self._by_name[name]
        coordinator = http_v2.http_coordinator
        invocation_id = f"{os.getpid()}-{next(self._numbers)}"
        coordinator.set_http_request(invocation_id, request)
        try:
            trigger = (function.binding("httpTrigger") or {})["name"]
            inputs = {trigger: TypedData(http=RpcHttp(params=params))}
            outcome = await self._invoke(function, invocation_id, inputs, {})
            reference = coordinator._context_references.get(invocation_id)
        finally:
            # The library keeps an entry for every request it has ever answered.
            coordinator._context_references.pop(invocation_id, None)
        response = None if reference is None else reference.http_response
        if response is None and outcome.error is not None:
            return RuntimeError(outcome.error)
        return response

    async def invoke(
        self, name: str, inputs: Mapping[str, TypedData], metadata: Mapping[str, TypedData]
    ) -> Outcome:
        """Call a function of any other trigger."""
        invocation_id = f"{os.getpid()}-{next(self._numbers)}"
        return await self._invoke(self._by_name[name], invocation_id, inputs, metadata)

    async def _invoke(
        self,
        function: Function,
        invocation_id: str,
        inputs: Mapping[str, TypedData],
        metadata: Mapping[str, TypedData],
    ) -> Outcome:
        data = [ParameterBinding(name=name, data=value) for name, value in inputs.items()]
        client = function.binding("durableClient")
        if client is not None:
            data.append(
                ParameterBinding(name=client["name"], data=TypedData(string=self.client_config))
            )
        request = SimpleNamespace(
            invocation_id=invocation_id,
            function_id=function.function_id,
            input_data=data,
            trigger_metadata=metadata,
            trace_context=_NO_TRACE,
            retry_context=_NO_RETRY,
        )
        answer = await runtime.invocation_request(
            SimpleNamespace(request=SimpleNamespace(invocation_request=request))
        )
        if answer.result.status == protos.StatusResult.Success:
            return Outcome(answer.return_value)
        exception = answer.result.exception
        _log.error("function %s failed: %s", function.name, exception.stack_trace)
        return Outcome(error=exception.message or "the function failed")


_NO_TRACE = SimpleNamespace(trace_parent="", trace_state="", attributes={})
_NO_RETRY = SimpleNamespace(retry_count=0, max_retry_count=0, exception=None)


def _without_http_server() -> None:
    """Keep the library from opening the port behind which the real host would reach it."""
    runtime.handle_event.initialize_http_server = lambda *_args, **_kwargs: ""
