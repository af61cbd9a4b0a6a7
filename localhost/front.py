"""The HTTP front of a worker: routes, limits and answers, as the real host has them."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi.encoders import jsonable_encoder
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localhost.app import App
from localhost.messages import Function
from localhost.routes import Route, Router

DEFAULT_BODY_LIMIT_BYTES = 104_857_600
_ALL_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE")
_INVOCATION_HEADER = b"x-ms-invocation-id"
"""Set by the host alone; one that a client sends never reaches the app."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Front:
    """An ASGI application that serves the HTTP functions of an app."""

    def __init__(self, app: App, prefix: str, body_limit_bytes: int) -> None:
        self._app = app
        self._router = Router(http_routes(app.functions), prefix)
        self._body_limit = body_limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        match = self._router.find(scope["method"], scope["raw_path"].decode("latin-1"))
        if match is None:
            await Response(status_code=404)(scope, receive, send)
            return
        if _declared_length(scope) > self._body_limit:
            await Response(status_code=413)(scope, receive, send)
            return
        scope["path_params"] = {}  # The library fills this very dictionary.
        body = _BoundedBody(receive, self._body_limit)
        request = Request(scope, body.receive)
        result = await self._app.answer(match.function, request, match.params)
        response = Response(status_code=413) if body.is_exceeded else _response(result)
        await response(scope, body.receive, send)


def http_routes(functions: tuple[Function, ...]) -> list[Route]:
    """The routes of an app; a function without one is served under its name."""
    routes = []
    for function in functions:
        trigger = function.binding("httpTrigger")
        if trigger is not None:
            methods = trigger.get("methods") or _ALL_METHODS
            template = trigger.get("route") or function.name
            names = frozenset(str(method).upper() for method in methods)
            routes.append(Route(function.name, template, names))
    return routes


def _declared_length(scope: Scope) -> int:
    for number, (name, value) in enumerate(scope["headers"]):
        if name == b"content-length":
            return int(value)
        if name == _INVOCATION_HEADER:
            del scope["headers"][number]
            return _declared_length(scope)
    return 0


class _BoundedBody:
    """Counts the bytes of a body whose length was not declared."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit
        self.is_exceeded = False

    async def receive(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.is_exceeded = True
            raise HTTPException(413)
        return message


def _response(result: Any) -> Response:
    match result:
        case Response():
            return result
        case HTTPException():
            detail = {"detail": result.detail}
            return JSONResponse(detail, result.status_code, result.headers)
        case None | Exception():
            return Response(status_code=500)
        case _:
            return JSONResponse(jsonable_encoder(result))
