"""Plain stand-ins for the messages between the Functions host and its Python worker.

The worker library builds them by keyword and reads their attributes; nothing is serialised here,
as host and library share a process.
"""

from typing import Any


class Message:
    """A message whose fields are given by keyword; a field that was not given reads as None."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> Any:
        """Fields that were not set."""
        if name.startswith("_"):
            raise AttributeError(name)
        return None


class TypedData:
    """One value of the kind that its only field names: json, string, bytes, http and so on."""

    def __init__(self, **fields: Any) -> None:
        given = [item for item in fields.items() if item[1] is not None]
        self.kind: str | None = given[0][0] if given else None
        self.value: Any = given[0][1] if given else None

    def __getattr__(self, name: str) -> Any:
        """The value, under the name of its kind; other names do not exist."""
        if name == self.__dict__.get("kind"):
            return self.value
        raise AttributeError(name)

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's name
        """The kind of the value."""
        return self.kind

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the field."""
        return _typed_data, (self.kind, self.value)


def _typed_data(kind: str | None, value: Any) -> TypedData:
    return TypedData(**({} if kind is None else {kind: value}))


class ParameterBinding(Message):
    """A value for one parameter of a function."""

    def WhichOneof(self, _group: str) -> str:  # noqa: N802 - protobuf's name
        """Values are never in shared memory here."""
        return "data"


class RpcHttp(Message):
    """The part of an HTTP request that goes with the invocation: its route parameters."""

    def __init__(self, **fields: Any) -> None:
        empty: dict[str, Any] = {"method": "", "url": "", "headers": {}, "params": {}, "query": {}}
        empty["body"] = TypedData()
        super().__init__(**(empty | fields))


class BindingInfo(Message):
    """One binding of a function."""

    undefined, out, inout = 0, 1, 2


class StatusResult(Message):
    """How a request to the library ended."""

    Failure, Success = 0, 1


class RpcException(Message):
    """What a function raised."""


class ModelBindingData(Message):
    """Where the library finds what an SDK-typed parameter stands for."""


class RpcHttpCookie(Message):
    """A cookie; never made here, but looked up."""

    SameSite = Message


class RpcFunctionMetadata(Message):
    """What indexing found of one function."""


class RpcRetryOptions(Message):
    """A function's retry policy."""

    exponential_backoff, fixed_delay = 0, 1


class WorkerMetadata(Message):
    """Which worker this is."""


class WorkerInitResponse(Message):
    """Answer to the first request."""


class FunctionMetadataResponse(Message):
    """The functions of the app."""


class FunctionLoadResponse(Message):
    """Answer to loading a function."""


class FunctionEnvironmentReloadResponse(Message):
    """Answer to a new environment."""


class InvocationResponse(Message):
    """How an invocation ended."""


class NullableString(Message):
    """A string or none."""


class NullableBool(Message):
    """A truth value or none."""


class NullableDouble(Message):
    """A number or none."""


class NullableTimestamp(Message):
    """A time or none."""
