"""What logs may say: never the words of an exception, and never what a client has typed.

It holds for every logger of the process, those of libraries and of the host's web server too.
"""

import logging
import traceback
from typing import Any

_SILENT = ("uvicorn.access", "pydicom")
"""The first writes query strings, the second attribute values."""
_QUIET = (
    "azure.core",
    "azure.identity",
    "azure.monitor",
    "azure.storage",
    "durabletask",
    "httpx",
    "msal",
    "urllib3",
)
"""They tell of every call they make."""
_SHOWS_EXCEPTIONS = "asyncio"

_CAUSE = "The above was the cause of:"


def keep_private() -> None:
    """Bind all logs to these rules; what configures logging later does not undo it."""
    logging.setLogRecordFactory(_record)
    for name in _SILENT:
        # A level would be set anew by the web server, when it configures its loggers.
        logging.getLogger(name).addFilter(_nothing)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def told(error: BaseException) -> str:
    """An exception and its causes: where they were raised and of which types, never a word more.

    The message of an exception may quote the value that it is about.
    """
    return f"\n{_CAUSE}\n".join(_told_alone(link) for link in reversed(_chain(error)))


def _record(  # noqa: PLR0913, PLR0917 - as logging calls it
    name: str,
    level: int,
    path: str,
    line: int,
    message: object,
    args: Any,  # noqa: ANN401
    exception: Any,  # noqa: ANN401
    *rest: Any,  # noqa: ANN401
    **more: Any,  # noqa: ANN401
) -> logging.LogRecord:
    if exception is not None and name == _SHOWS_EXCEPTIONS:
        message = str(message).partition("\n")[0]
    if isinstance(args, tuple):
        args = tuple(map(_named, args))
    record = logging.LogRecord(name, level, path, line, _named(message), args, None, *rest, **more)
    if isinstance(exception, tuple) and exception[1] is not None:
        record.exc_text = told(exception[1])
    return record


def _named(value: object) -> object:
    return type(value).__name__ if isinstance(value, BaseException) else value


def _nothing(_record: logging.LogRecord) -> bool:
    return False


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and all(following is not link for link in chain):
        chain.append(following)
        hidden = following.__suppress_context__
        following = following.__cause__ or (None if hidden else following.__context__)
    return chain


def _told_alone(error: BaseException) -> str:
    frames = "".join(
        traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__)).format()
    )
    kind = type(error)
    lines = [f"Traceback (most recent call last):\n{frames}{kind.__module__}.{kind.__qualname__}"]
    if isinstance(error, BaseExceptionGroup):
        lines += [told(part) for part in error.exceptions]
    return "\n".join(lines)
