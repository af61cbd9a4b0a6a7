"""The app over an archive of its own in a folder: services, and a client without sockets."""

import atexit
import inspect
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx
import orjson

from localhost.routes import Route, Router
from shared import wiring
from shared.adapters.sql_index.migrate import migrate
from shared.settings import Settings
from shared.wiring import Services
from tests.engine import app_functions, client_config

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]

HOST = "http://archive.test"


@cache
def _migrated() -> Path:
    folder = Path(mkdtemp(prefix="schema-"))
    atexit.register(shutil.rmtree, folder)
    migrate(wiring.index_url(folder))
    return folder / "index.sqlite"


@asynccontextmanager
async def open_archive(folder: Path, **env: str) -> AsyncIterator[Services]:
    """The services over an empty archive in a folder, with settings on top."""
    shutil.copy(_migrated(), folder / "index.sqlite")
    values = {
        "DATA_DIRECTORY": str(folder),
        "EMBEDDED_SYNC": "off",
        # The client calls it by a name that is not this machine's.
        "ALLOW_UNAUTHENTICATED": "on",
        **env,
    }
    services = wiring.build(Settings.from_env(values))
    wiring.use(services)
    try:
        yield services
    finally:
        wiring.use(None)
        await services.index.close()


@cache
def http_functions() -> dict[str, tuple[Route, Callable[..., Any]]]:
    """Every registered HTTP function by name, with its route as the host reads it."""
    found: dict[str, tuple[Route, Callable[..., Any]]] = {}
    for function in app_functions():
        trigger: Any = function.get_trigger()
        if trigger.get_binding_name() == "httpTrigger":
            name = str(function.get_function_name())
            methods = frozenset(str(getattr(method, "value", method)) for method in trigger.methods)
            found[name] = Route(name, trigger.route, methods), function.get_user_function()
    return found


@cache
def router() -> Router:
    """All routes, matched as the host does."""
    return Router((route for route, _ in http_functions().values()), prefix="")


async def _serve(scope: Message, receive: Receive, send: Send) -> None:
    from fastapi import Request, Response

    match = router().find(scope["method"], scope["raw_path"].decode().partition("?")[0])
    if match is None:
        response = Response(status_code=404, content=b"no function")
    else:
        scope["path_params"] = dict(match.params)
        function = http_functions()[match.function][1]
        durable = "client" in inspect.signature(function).parameters
        given = {"client": client_config()} if durable else {}
        response = await function(Request(scope, receive), **given)
    await response(scope, receive, send)


class Client:
    """Sends requests to the functions as the host would route them; no header goes by itself."""

    def __init__(self, peer: str = "127.0.0.1") -> None:
        """Send them from an address."""
        transport = httpx.ASGITransport(_serve, raise_app_exceptions=False, client=(peer, 123))
        self._http = httpx.AsyncClient(transport=transport, base_url=HOST)
        for name in ("accept", "accept-encoding", "user-agent", "connection"):
            del self._http.headers[name]

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
    ) -> httpx.Response:
        """Send any request."""
        return await self._http.request(method, path, headers=headers, content=content)

    async def get(self, path: str, accept: str | None = None, **headers: str) -> httpx.Response:
        """Send a GET; underscores in the names of headers are dashes."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if accept is not None:
            given["Accept"] = accept
        return await self.send("GET", path, headers=given)

    async def store(self, root: str, files: Iterable[bytes], study: str = "") -> httpx.Response:
        """Store files, each as a part, below a root like `/v2`."""
        from tests.builders import multipart

        body, headers = multipart(files)
        path = f"{root}/studies/{study}".rstrip("/")
        return await self.send("POST", path, headers=headers, content=body)


def code_of(content: bytes) -> str:
    """The code of an error, whose body must have the one shape of the service."""
    body = orjson.loads(content)
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"code", "message", "requestId"}
    assert re.fullmatch("[0-9a-f]{32}", body["error"]["requestId"])
    assert body["error"]["message"].endswith(".")
    return str(body["error"]["code"])


def blobs_in(folder: Path) -> list[str]:
    """The names of all blobs, and of what should not be there."""
    return sorted(
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and not file.name.startswith("index.sqlite")
    )
