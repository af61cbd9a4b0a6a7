"""The HTTP front of a worker: routes, limits and answers, as the real host has them."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi.encoders import jsonable_encoder
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localhost.app import App
from localhost.routes import Router, http_routes

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
        headers = [header for header in scope["headers"] if header[0] != _INVOCATION_HEADER]
        scope["headers"] = headers
        scope["path_params"] = {}  # The library fills this very dictionary.
        body = _BoundedBody(receive, self._body_limit)
        request = Request(scope, body.receive)
        result = await self._app.answer(match.function, request, match.params)
        response = Response(status_code=413) if body.is_exceeded else _response(result)
        await response(scope, body.receive, send)


def _declared_length(scope: Scope) -> int:
    return int(next((text for name, text in scope["headers"] if name == b"content-length"), 0))


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
