"""What the files of an app and the shell say about how to run it."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localhost.errors import StartError

_DEFAULT_BODY_LIMIT_BYTES = 104_857_600
"""The real host's own."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run an app; `environment` is what it sees of it."""

    environment: Mapping[str, str]
    route_prefix: str
    body_limit_bytes: int
    task_hub: str
    prepare: str | None
    """`module:function` of the app, to be called before any worker serves."""
    storage: Sequence[str] = ()
    """The settings with connection strings of a storage account, for the emulator to take over."""

    @classmethod
    def read(cls, app: Path, data: Path, shell: Mapping[str, str]) -> "Settings":
        """Read the app's files; the shell's settings win over theirs.

        Raises:
            StartError: There is no app, or one of the files cannot be read.
        """
        host = _json(app / "host.json")
        if host is None:
            raise StartError(f"{app} holds no function app: there is no host.json")
        values = (_json(app / "local.settings.json") or {}).get("Values", {})
        project = _project(app / "pyproject.toml")
        defaults = project.get("settings", {}) | values
        environment = {
            **{name: str(value) for name, value in defaults.items()},
            **shell,
            "DATA_DIRECTORY": str(data),
        }
        extensions = host.get("extensions", {})
        return cls(
            environment,
            route_prefix=extensions.get("http", {}).get("routePrefix", "api"),
            body_limit_bytes=_body_limit(environment),
            task_hub=extensions.get("durableTask", {}).get("hubName", "TestHub"),
            prepare=project.get("prepare"),
            storage=tuple(project.get("storage", ())),
        )


def _json(file: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StartError(f"{file} is not JSON: {error}") from error
    return found


def _project(file: Path) -> dict[str, Any]:
    """What the app's pyproject.toml says under [tool.localhost]."""
    if not file.exists():
        return {}
    try:
        found: dict[str, Any] = tomllib.loads(file.read_text()).get("tool", {})
    except ValueError as error:
        raise StartError(f"{file} is not TOML: {error}") from error
    section: dict[str, Any] = found.get("localhost", {})
    return section


def _body_limit(environment: Mapping[str, str]) -> int:
    name = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
    text = environment.get(name) or str(_DEFAULT_BODY_LIMIT_BYTES)
    if not text.isdecimal():
        raise StartError(f"{name} is not a number of bytes: {text}")
    return int(text)
