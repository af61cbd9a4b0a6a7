"""What the parent and its workers tell each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localhost.protos import TypedData

Binding = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the app; `bindings` as its function.json would have them."""

    name: str
    function_id: str
    bindings: tuple[Binding, ...]

    def binding(self, *types: str) -> Binding | None:
        """The first binding of one of these types, compared without case."""
        wanted = {name.lower() for name in types}
        return next((b for b in self.bindings if b["type"].lower() in wanted), None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an invocation ended: a value, or the text of what was raised."""

    value: TypedData | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """The parent's first message: what to serve, and where."""

    app: Path
    host: str
    port: int
    route_prefix: str
    body_limit_bytes: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """The worker's answer: the functions found, or why the app cannot be loaded."""

    functions: tuple[Function, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Serve:
    """The parent's second message: begin; `client_config` is for durable clients."""

    client_config: str | None


@dataclass(frozen=True, slots=True)
class Serving:
    """The worker listens."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A call of a function that is not HTTP."""

    number: int
    function: str
    inputs: dict[str, TypedData]
    metadata: dict[str, TypedData]


@dataclass(frozen=True, slots=True)
class Done:
    """How an invocation ended."""

    number: int
    outcome: Outcome
