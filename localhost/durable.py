"""Durable Functions: durabletask's own engine, in memory, with its work done by the workers.

The engine lives in the parent and ends with it; orchestrations that must survive a restart are the
app's to start again.
"""

import asyncio
import base64
import json
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from google.protobuf.wrappers_pb2 import StringValue

from localhost.engine import Engine, Local
from localhost.errors import WorkerLostError
from localhost.messages import Function, Outcome
from localhost.pool import Pool
from localhost.protos import TypedData

_TRIGGERS = ("orchestrationTrigger", "activityTrigger", "entityTrigger")
_MAX_HISTORY_EVENTS = 1_000_000
_MAX_MESSAGE_BYTES = 2**31 - 1
_DELIVERIES = 3
_ACTIVITIES_AT_ONCE = 16
_ORCHESTRATORS_AT_ONCE = 16

_log = logging.getLogger(__name__)


class Durable:
    """Runs the orchestrations, activities and entities of an app."""

    def __init__(self, functions: tuple[Function, ...], pool: Pool) -> None:
        self._pool = pool
        self._functions = {
            (trigger["type"].lower(), _called(function, trigger)): (function, trigger)
            for function in functions
            if (trigger := function.binding(*_TRIGGERS)) is not None
        }
        self._backend = Engine(max_history_size=_MAX_HISTORY_EVENTS)
        limits = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        self._server = grpc.server(ThreadPoolExecutor(max_workers=16), options=limits)
        stubs.add_TaskHubSidecarServiceServicer_to_server(self._backend, self._server)
        self._port = self._server.add_insecure_port("127.0.0.1:0")
        self._activities = asyncio.Semaphore(_ACTIVITIES_AT_ONCE)
        self._orchestrators = asyncio.Semaphore(_ORCHESTRATORS_AT_ONCE)

    def client_config(self, base_url: str, task_hub: str) -> str:
        """What a durable client binding is given to reach this engine."""
        return json.dumps(
            {
                "taskHubName": task_hub,
                "connectionName": "AzureWebJobsStorage",
                "requiredQueryStringParameters": "",
                "rpcBaseUrl": f"http://127.0.0.1:{self._port}",
                "httpBaseUrl": f"{base_url}/runtime/webhooks/durabletask",
                "useForwardedHost": False,
                "maxGrpcMessageSizeInBytes": _MAX_MESSAGE_BYTES,
                "grpcHttpClientTimeout": "00:01:40",
            }
        )

    async def run(self) -> None:
        """Hand out work until cancelled."""
        self._server.start()
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[pb.WorkItem] = asyncio.Queue()

        def pull() -> None:
            for item in self._backend.GetWorkItems(pb.GetWorkItemsRequest(), Local()):
                loop.call_soon_threadsafe(items.put_nowait, item)

        threading.Thread(target=pull, name="durable", daemon=True).start()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    group.create_task(self._work(await items.get()))
        finally:
            self._backend.stop()
            self._server.stop(None)

    def _work(self, item: pb.WorkItem) -> Coroutine[Any, Any, None]:
        match item.WhichOneof("request"):
            case "orchestratorRequest":
                return self._orchestrate(item)
            case "activityRequest":
                return self._act(item)
            case _:
                return self._operate(item)

    async def _orchestrate(self, item: pb.WorkItem) -> None:
        request = item.orchestratorRequest
        name = _started_name(request)
        async with self._orchestrators:
            outcome = await self._call("orchestrationtrigger", name, _encoded(request))
        if outcome.value is None:
            response = _failed(request.instanceId, outcome.error or "it gave no answer")
        else:
            response = pb.OrchestratorResponse.FromString(base64.b64decode(outcome.value.value))
        response.instanceId = request.instanceId
        response.completionToken = item.completionToken
        self._backend.CompleteOrchestratorTask(response, Local())

    async def _act(self, item: pb.WorkItem) -> None:
        request = item.activityRequest
        async with self._activities:
            data = TypedData(json=request.input.value or "null")
            outcome = await self._call("activitytrigger", request.name, data)
        response = pb.ActivityResponse(
            instanceId=request.orchestrationInstance.instanceId,
            taskId=request.taskId,
            completionToken=item.completionToken,
        )
        if outcome.error is not None:
            response.failureDetails.CopyFrom(_failure(outcome.error))
        elif outcome.value is not None:
            response.result.CopyFrom(StringValue(value=outcome.value.value))
        self._backend.CompleteActivityTask(response, Local())

    async def _operate(self, item: pb.WorkItem) -> None:
        batch, operations = helpers.convert_to_entity_batch_request(item.entityRequestV2)
        name = batch.instanceId.removeprefix("@").partition("@")[0]
        outcome = await self._call("entitytrigger", name, _encoded(batch))
        if outcome.value is None:
            result = pb.EntityBatchResult(failureDetails=_failure(outcome.error or "no answer"))
        else:
            result = pb.EntityBatchResult.FromString(base64.b64decode(outcome.value.value))
        result.completionToken = item.completionToken
        result.operationInfos.extend(operations)
        self._backend.CompleteEntityTask(result, Local())

    async def _call(self, kind: str, name: str, data: TypedData) -> Outcome:
        function, trigger = self._functions.get((kind, name.lower()), (None, {}))
        if function is None:
            return Outcome(error=f"LookupError: the app has no {kind} function {name!r}")
        for _ in range(_DELIVERIES):
            try:
                return await self._pool.invoke(function.name, {trigger["name"]: data}, {})
            except WorkerLostError:
                _log.warning("%s: the worker died; trying again", function.name)
                await asyncio.sleep(1)
        return Outcome(error=f"RuntimeError: {function.name} lost its worker {_DELIVERIES} times")


def _called(function: Function, trigger: dict[str, Any]) -> str:
    keys = ("orchestration", "activity", "entityName", "entity")
    name = next((trigger[key] for key in keys if trigger.get(key)), function.name)
    return str(name).lower()


def _encoded(message: Any) -> TypedData:
    return TypedData(string=base64.b64encode(message.SerializeToString()).decode())


def _started_name(request: pb.OrchestratorRequest) -> str:
    for event in (*request.pastEvents, *request.newEvents):
        if event.HasField("executionStarted"):
            return str(event.executionStarted.name)
    return ""


def _failed(instance_id: str, error: str) -> pb.OrchestratorResponse:
    action = pb.OrchestratorAction(
        id=-1,
        completeOrchestration=pb.CompleteOrchestrationAction(
            orchestrationStatus=pb.ORCHESTRATION_STATUS_FAILED, failureDetails=_failure(error)
        ),
    )
    return pb.OrchestratorResponse(instanceId=instance_id, actions=[action])


def _failure(error: str) -> pb.TaskFailureDetails:
    # The library gives "Type: text"; the engine takes an empty text for success.
    kind, _, text = error.partition(": ")
    return pb.TaskFailureDetails(errorType=kind, errorMessage=text or kind or "failed")
