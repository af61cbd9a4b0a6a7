"""The only HTTP edge: between the trigger's requests and the handlers of the transactions.

No handler sees a type of the trigger; nothing else sets the status of an error.
"""

import inspect
import logging
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Buffer, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPMethod, HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import azure.durable_functions as df
import azure.functions as func
import orjson
from azure.durable_functions.client import DurableFunctionsClient
from azurefunctions.extensions.http.fastapi import Request as TriggerRequest
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.responses import Response as PlainResponse
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from functions.observation import REQUEST_ID, Observation, current, observe_request
from functions.orchestrations import DurableOrchestrations
from shared import errors, wiring
from shared.access import DataAction
from shared.dicomweb.forwarded import Network, Origin, external_origin, is_trusted
from shared.dicomweb.media_type import JSON
from shared.dicomweb.openapi import IN_PARTITION, Route
from shared.dicomweb.strangers import is_forged, is_from_this_machine
from shared.dicomweb.transactions import TRANSACTIONS
from shared.ports import Orchestrations, Partition
from shared.wiring import Services

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRequest:
    """A request to a resource that belongs to no partition.

    Attributes:
        version: Semantics to answer by, 1 or 2; `v1.0-prerelease` is answered as 1.
        base_url: Service root with version and partition, as the client sees it; no final slash.
        service_url: Service root with version, likewise, for what belongs to no partition.
        path: The route's variable segments.
        query: Name and value pairs in order, percent-decoded.
        accept: The values of the Accept header lines, None without any.
        body: The bytes of the request, as they arrive.
        engine: What drives long-running operations, where the function declares to need it.
    """

    version: int
    base_url: str
    path: Mapping[str, str]
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    accept: Sequence[str] | None
    body: AsyncIterator[bytes]
    service_url: str
    engine: Orchestrations | None = None

    @property
    def orchestrations(self) -> Orchestrations:
        """What drives long-running operations."""
        if self.engine is None:
            raise RuntimeError("the function does not declare that it orchestrates")
        return self.engine

    @property
    def preferred(self) -> Sequence[str]:
        """The values of the accept query parameter, which goes before the header.

        Standard: PS3.18 8.3.3.1 (2025b).
        """
        # An unencoded plus sign of a media type has been read as a space.
        return [
            value.replace("/dicom ", "/dicom+") for name, value in self.query if name == "accept"
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(ServiceRequest):
    """A request to a resource in a partition."""

    partition: Partition


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer as handlers give it; a body that is an iterator is streamed."""

    status: HTTPStatus = HTTPStatus.OK
    media_type: str | None = None
    body: Buffer | AsyncIterator[Buffer] = b""
    headers: Mapping[str, str] = field(default_factory=dict)


type Blueprint = func.Blueprint | df.Blueprint
type Handler = Callable[[Request, Services], Awaitable[Response]]
type ServiceHandler = Callable[[ServiceRequest, Services], Awaitable[Response]]
type _Answer = Callable[[TriggerRequest, Services, Orchestrations | None], Awaitable[Response]]

STATUS_OF_ERROR: dict[type[errors.DicomWebError], HTTPStatus] = {
    errors.InvalidRequestError: HTTPStatus.BAD_REQUEST,
    errors.InvalidInstanceError: HTTPStatus.CONFLICT,
    errors.NotAuthenticatedError: HTTPStatus.UNAUTHORIZED,
    errors.NotPermittedError: HTTPStatus.FORBIDDEN,
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.GoneError: HTTPStatus.GONE,
    errors.RangeNotSatisfiableError: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    errors.NotAcceptableError: HTTPStatus.NOT_ACCEPTABLE,
    errors.ConflictError: HTTPStatus.CONFLICT,
    errors.PayloadTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedMediaTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.NotSupportedError: HTTPStatus.NOT_IMPLEMENTED,
    errors.StoreUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}

VERSIONS = {"v1.0-prerelease": 1, "v1": 1, "v2": 2}
_MAX_QUERY_PARAMETERS = 1000
_VERSION_SEGMENT = re.compile(r"v\d+(\.\d+)?(-[a-z]+)?\Z", re.ASCII | re.IGNORECASE)

_EVERY_ANSWER = {
    "api-supported-versions": "1.0-prerelease, 1, 2",
    "X-Content-Type-Options": "nosniff",
}

_HELD_BYTES = 1_048_576
_RETRY_AFTER_SECONDS = "5"
_CUT_SHORT = 499
"""Told of a request that was given up before it had an answer."""
_INVOCATION_ID = "x-ms-invocation-id"
_LEAKING_WORKERS = frozenset({"1.3.0"})


def transaction(  # noqa: PLR0913
    blueprint: Blueprint,
    name: str,
    route: str,
    method: HTTPMethod,
    action: DataAction,
    *,
    creates_partition: bool = False,
    orchestrates: bool = False,
) -> Callable[[Handler], Handler]:
    """Serve a handler below `{version}/` and below `{version}/partitions/{partition}/`.

    A function has one route, so each form is a function of its own. GET also answers HEAD.
    """
    known = TRANSACTIONS[name]
    since_version = known.since_version

    def register(handler: Handler) -> Handler:
        async def answer(
            native: TriggerRequest, services: Services, engine: Orchestrations | None
        ) -> Response:
            if native.path_params["version"].lower() in known.not_in:
                raise errors.NotFoundError("There is no such resource.")
            fields = _fields(native, services, since_version)
            request = await _request(fields, services, creates_partition=creates_partition)
            return await _begun(await handler(replace(request, engine=engine), services))

        forms = {"": "{version}", IN_PARTITION: "{version}/partitions/{partition}"}
        for suffix, root in forms.items():
            served = _route(name + suffix, f"{root}/{route}", method)
            trigger = _trigger(name + suffix, answer, action, orchestrates=orchestrates)
            _register(blueprint, served, action, trigger, handler.__doc__)
        return handler

    return register


def unversioned(
    blueprint: Blueprint, name: str, route: str, method: HTTPMethod, action: DataAction
) -> Callable[[Callable[[Services], Awaitable[Response]]], None]:
    """Serve a handler that needs nothing of the request, below the root."""

    def register(handler: Callable[[Services], Awaitable[Response]]) -> None:
        async def answer(
            _: TriggerRequest, services: Services, _engine: Orchestrations | None
        ) -> Response:
            return await handler(services)

        trigger = _trigger(name, answer, action)
        _register(blueprint, _route(name, route, method), action, trigger, handler.__doc__)

    return register


def resource(  # noqa: PLR0913
    blueprint: Blueprint,
    name: str,
    route: str,
    method: HTTPMethod,
    action: DataAction,
    *,
    orchestrates: bool = False,
) -> Callable[[ServiceHandler], ServiceHandler]:
    """Serve a handler below `{version}/` only: what it serves belongs to no partition."""
    since_version = TRANSACTIONS[name].since_version if name in TRANSACTIONS else 1

    def register(handler: ServiceHandler) -> ServiceHandler:
        async def answer(
            native: TriggerRequest, services: Services, engine: Orchestrations | None
        ) -> Response:
            request = ServiceRequest(**_fields(native, services, since_version), engine=engine)
            return await _begun(await handler(request, services))

        served = _route(name, f"{{version}}/{route}", method)
        trigger = _trigger(name, answer, action, orchestrates=orchestrates)
        _register(blueprint, served, action, trigger, handler.__doc__)
        return handler

    return register


DATA_ACTIONS: dict[str, DataAction] = {}
"""What each registered function demands of its caller."""

ROUTES: list[Route] = []
"""Where each registered function is served."""


def _route(name: str, template: str, method: HTTPMethod) -> Route:
    methods = {method.value, "HEAD"} if method is HTTPMethod.GET else {method.value}
    return Route(name, template, frozenset(methods))


def _trigger(
    name: str, answer: _Answer, action: DataAction, *, orchestrates: bool = False
) -> Callable[..., Any]:
    async def observed(native: TriggerRequest, engine: Orchestrations | None) -> PlainResponse:
        seen = observe_request(
            wiring.services().telemetry,
            name,
            action,
            method=native.method,
            path=native.path_params,
            traceparent=native.headers.get("traceparent"),
        )
        response = None
        try:
            with seen:
                response = await _answered(native, answer, action, engine)
        finally:
            if not isinstance(response, _Stream):
                seen.finish(_CUT_SHORT if response is None else response.status_code)
        return response

    # Not functools.wraps: the worker reads the signature, and would find the handler's.
    async def plain(req: TriggerRequest) -> PlainResponse:
        return await observed(req, None)

    async def orchestrating(req: TriggerRequest, client: DurableFunctionsClient) -> PlainResponse:
        return await observed(req, DurableOrchestrations(client))

    return orchestrating if orchestrates else plain


async def _answered(
    native: TriggerRequest, answer: _Answer, action: DataAction, engine: Orchestrations | None
) -> PlainResponse:
    async def permitted() -> Response:
        services = wiring.services()
        if not services.access.is_checked:
            _refuse_strangers(native, services)
        # First of all: a caller without the right neither sends a body nor learns anything.
        caller = await services.access.permit(native.headers.getlist("authorization"), action)
        current().caller = caller
        return await answer(native, services, engine)

    return _native(await _attempt(permitted), native)


def _refuse_strangers(native: Any, services: Services) -> None:  # noqa: ANN401
    """Answer nobody but this machine, unless all may call, and let no page of elsewhere write."""
    headers, client = native.headers, native.client
    hosts = [*headers.getlist("host"), *headers.getlist("x-forwarded-host")]
    # Functions hosts that pass requests on to the worker name their own caller as the client.
    peer = None if client is None else client.host
    may_call = services.settings.allow_unauthenticated or is_from_this_machine(peer, hosts)
    if not may_call:
        raise errors.NotPermittedError(
            "Without authentication, only this machine is served, by its own names."
        )
    if is_forged(native.method, headers.get("origin"), hosts, services.cors):
        raise errors.NotPermittedError("Pages of this origin may change nothing here.")


def _register(
    blueprint: Blueprint,
    route: Route,
    action: DataAction,
    trigger: Callable[..., Any],
    documentation: str | None,
) -> None:
    ROUTES.append(route)
    DATA_ACTIONS[route.function] = action
    trigger.__name__ = route.function
    trigger.__doc__ = documentation
    # Without a level of its own, a function has that of the app.
    level = func.AuthLevel.ANONYMOUS if action is DataAction.ANONYMOUS else None
    served: Any = trigger
    if "client" in inspect.signature(trigger).parameters:
        served = blueprint.durable_client_input(client_name="client")(trigger)
    served = blueprint.route(route=route.template, methods=sorted(route.methods), auth_level=level)(
        served
    )
    blueprint.function_name(route.function)(served)


async def _request(
    fields: Mapping[str, Any], services: Services, *, creates_partition: bool
) -> Request:
    path = dict(fields["path"])
    name = path.pop("partition", None)
    partition = await services.partitions.resolve(name, create=creates_partition)
    # Not what the path says: that may be anything, until a partition of the name is found.
    current().partition = partition.name
    base_url = fields["base_url"] if name is None else f"{fields['base_url']}/partitions/{name}"
    return Request(**{**fields, "base_url": base_url, "path": path}, partition=partition)


def _fields(native: Any, services: Services, since_version: int) -> dict[str, Any]:  # noqa: ANN401
    query = _query(native.url.query)
    path: dict[str, str] = dict(native.path_params)
    version_name = path.pop("version")
    version = current().version = _version(version_name, since_version)
    url = f"{_origin(native, services.settings.trusted_proxies).root}/{version_name}"
    return {
        "version": version,
        "base_url": url,
        "service_url": url,
        "path": path,
        "query": query,
        "headers": native.headers,
        "accept": native.headers.getlist("accept") or None,
        "body": _body(native),
    }


def _origin(native: Any, proxies: Sequence[Network]) -> Origin:  # noqa: ANN401
    direct = Origin(native.url.scheme, native.url.netloc)
    client = None if native.client is None else native.client.host
    return external_origin(direct, native.headers) if is_trusted(client, proxies) else direct


def _query(text: str) -> Sequence[tuple[str, str]]:
    if "<" in text or "%3c" in text.lower():
        raise errors.InvalidQueryError("The query string has a character that is not allowed.")
    if text.count("&") >= _MAX_QUERY_PARAMETERS:
        raise errors.InvalidQueryError("The query string has too many parameters.")
    return parse_qsl(text, keep_blank_values=True) if text else ()


def _version(name: str, since_version: int) -> int:
    version = VERSIONS.get(name.lower())
    if version is None and _VERSION_SEGMENT.match(name):
        raise errors.UnsupportedVersionError("This version of the API is not served.")
    if version is None or version < since_version:
        raise errors.NotFoundError("There is no such resource.")
    return version


async def _body(native: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
    seen = current()
    try:
        async for chunk in native.stream():
            if chunk:
                seen.received += len(chunk)
                yield chunk
    except ClientDisconnect as error:
        raise errors.InvalidRequestError("The request body ended early.") from error


async def json_body(request: ServiceRequest) -> bytes:
    """The body of a request that is JSON, and not large.

    Raises:
        UnsupportedMediaTypeError: It is said to be something else.
        PayloadTooLargeError: It is more than 1 MiB.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != JSON:
        raise errors.UnsupportedMediaTypeError(f"The request body must be {JSON}.")
    body = bytearray()
    async for chunk in request.body:
        body += chunk
        if len(body) > _HELD_BYTES:
            raise errors.PayloadTooLargeError(f"The body may have {_HELD_BYTES} bytes at most.")
    return bytes(body)


async def _begun(response: Response) -> Response:
    """Hold what comes first: an error so far can still be answered as one.

    A body that ends here is sent whole and with its length, at a fraction of what a stream costs.
    """
    body = response.body
    if not isinstance(body, AsyncIterator):
        return response
    held: list[Buffer] = []
    size = 0
    async for chunk in body:
        held.append(chunk)
        size += memoryview(chunk).nbytes
        if size > _HELD_BYTES:
            return replace(response, body=_chain(held, body))
    return replace(response, body=b"".join(held))


async def _chain(first: Sequence[Buffer], rest: AsyncIterator[Buffer]) -> AsyncIterator[Buffer]:
    for chunk in first:
        yield chunk
    async for chunk in rest:
        yield chunk


async def _attempt(handled: Callable[[], Awaitable[Response]]) -> Response:
    try:
        return await handled()
    except errors.DicomWebError as error:
        status = _status_of(error)
        return _unexpected() if status is None else _refused(error, status)
    except Exception:
        return _unexpected()


def _status_of(error: errors.DicomWebError) -> HTTPStatus | None:
    kinds = type(error).__mro__
    return next((STATUS_OF_ERROR[kind] for kind in kinds if kind in STATUS_OF_ERROR), None)


def _unexpected() -> Response:
    seen = current()
    _log.exception("a request failed: %s", seen.request_id)
    return _error_body(
        HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", "The request failed unexpectedly."
    )


def _refused(error: errors.DicomWebError, status: HTTPStatus) -> Response:
    code = (
        "UnsupportedApiVersion"
        if isinstance(error, errors.UnsupportedVersionError)
        else (type(error).__name__.removesuffix("Error"))
    )
    _log.info("refused: %s", code)
    answer = _error_body(status, code, error.message)
    if isinstance(error, errors.NotAuthenticatedError):
        return replace(answer, headers={"WWW-Authenticate": error.challenge})
    if isinstance(error, errors.ConflictError) and error.location is not None:
        return replace(answer, headers={"Location": error.location})
    if isinstance(error, errors.RangeNotSatisfiableError) and error.length is not None:
        return replace(answer, headers={"Content-Range": f"bytes */{error.length}"})
    return answer


def _error_body(status: HTTPStatus, code: str, message: str) -> Response:
    seen = current()
    seen.error = code
    retry = status is HTTPStatus.SERVICE_UNAVAILABLE
    return Response(
        status=status,
        media_type=JSON,
        body=orjson.dumps(
            {"error": {"code": code, "message": message, "requestId": seen.request_id}}
        ),
        headers={"Retry-After": _RETRY_AFTER_SECONDS} if retry else {},
    )


def _native(response: Response, request: Any) -> PlainResponse:  # noqa: ANN401
    cors = wiring.services().cors.headers(request.headers.get("origin"))
    seen = current()
    headers = {**_EVERY_ANSWER, REQUEST_ID: seen.request_id, **cors, **response.headers}
    varying = [fields["Vary"] for fields in (cors, response.headers) if "Vary" in fields]
    if varying:
        headers["Vary"] = ", ".join(varying)
    if response.media_type is not None:
        headers["Content-Type"] = response.media_type
    body: Any = response.body
    is_head = request.method == HTTPMethod.HEAD
    afterwards = BackgroundTask(_forget, request.headers.get(_INVOCATION_ID))
    if isinstance(body, AsyncIterator):
        chunks = _nothing() if is_head else _chunks(body, seen)
        return _Stream(seen, chunks, response.status, headers, background=afterwards)
    content = bytes(body)
    if is_head and content:
        headers["Content-Length"] = str(len(content))
    sent = b"" if is_head else content
    seen.sent = len(sent)
    return PlainResponse(sent, response.status, headers, background=afterwards)


class _Stream(StreamingResponse):
    """An answer that is observed to its end."""

    def __init__(self, seen: Observation, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            # On Azure it is sent by another task than the one that made it.
            with self._seen:
                await super().__call__(scope, receive, send)
        finally:
            self._seen.finish(self.status_code)


async def _forget(invocation_id: str | None) -> None:
    """Drop what the worker keeps of every request it has ever answered.

    Its library does not, up to the version named here; the library is the worker's own, so it is
    looked for where it is loaded.
    """
    worker: Any = sys.modules.get("azure_functions_runtime.http_v2")
    version: Any = sys.modules.get("azure_functions_runtime.version")
    if worker is None or version is None or version.VERSION not in _LEAKING_WORKERS:
        return
    kept = worker.http_coordinator._context_references
    entry = kept.get(invocation_id)
    # Whoever names the invocation of another request must not end that one: it is not answered.
    if entry and entry.http_response_available_event.is_set() and entry.http_response is None:
        del kept[invocation_id]


async def _nothing() -> AsyncIterator[bytes]:
    """The body of an answer to HEAD, whose length is that of GET, or not told."""
    yield b""


async def _chunks(
    body: AsyncIterator[Buffer], seen: Observation
) -> AsyncIterator[bytes | memoryview]:
    seen.error = "Interrupted"  # Until the last of it is taken.
    async for chunk in body:
        view = chunk if isinstance(chunk, bytes) else memoryview(chunk)
        yield view
        seen.sent += len(view)
    seen.error = None
