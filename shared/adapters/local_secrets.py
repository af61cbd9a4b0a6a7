"""Secrets in one file that only its owner may read, for the embedded mode."""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from shared.adapters.secret_names import checked_name
from shared.errors import StoreUnavailableError

_MODE = 0o600


class LocalSecrets:
    """Secrets as one JSON object; a change replaces the file, under a lock between processes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = file.with_name(file.name + ".lock")

    async def get(self, name: str) -> str | None:
        """See Secrets."""
        checked_name(name)
        secrets = await asyncio.to_thread(self._read)
        return secrets.get(name)

    async def set(self, name: str, value: str) -> None:
        """See Secrets."""
        await asyncio.to_thread(self._change, checked_name(name), value)

    async def delete(self, name: str) -> None:
        """See Secrets."""
        await asyncio.to_thread(self._change, checked_name(name), None)

    def _read(self) -> dict[str, str]:
        try:
            return _parsed(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise StoreUnavailableError("The secrets cannot be read.") from error

    def _change(self, name: str, value: str | None) -> None:
        with self._locked():
            secrets = self._read()
            secrets.pop(name, None)
            if value is not None:
                secrets[name] = value
            self._write(orjson.dumps(secrets))

    def _write(self, content: bytes) -> None:
        new = self._file.with_name(self._file.name + ".new")
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, _MODE)
        except OSError as error:
            raise StoreUnavailableError("The secrets cannot be written.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        except OSError as error:
            raise StoreUnavailableError("The secrets cannot be written.") from error
        finally:
            os.close(descriptor)


def _parsed(content: bytes) -> dict[str, str]:
    secrets = orjson.loads(content)
    if not isinstance(secrets, dict) or not all(isinstance(v, str) for v in secrets.values()):
        raise ValueError("the secrets are not a JSON object of texts")
    return secrets
