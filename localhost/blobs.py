"""Blobs as triggers see them, and the storages that they are in."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from localhost.protos import TypedData

FOLDER_CONNECTION = "LOCALHOST_FOLDER"
"""The setting that clients of files in a folder are made from; they know the name, no more."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A version of a blob; `name` without its container."""

    name: str
    version: str
    length: int
    uri: str

    @property
    def key(self) -> bytes:
        """Name and version, in little room."""
        text = f"{self.version}/{self.name}".encode()
        return hashlib.blake2b(text, digest_size=16).digest()


class Source(Protocol):
    """Where blobs are looked for, and where is kept which were handled."""

    def blobs(self, container: str) -> AsyncIterator[Blob]:
        """The blobs of a container that are complete."""

    async def is_handled(self, function: str, container: str, blob: Blob) -> bool:
        """Whether this version was handed over, or given up, before."""

    async def set_handled(self, function: str, container: str, blob: Blob) -> None:
        """Remember that this version is done with."""

    async def set_poison(self, function: str, container: str, blob: Blob, error: str) -> None:
        """Leave word of a version that was given up."""

    async def data(self, container: str, blob: Blob, *, is_sdk_type: bool) -> TypedData:
        """What the function is given.

        Raises:
            FileNotFoundError, ResourceNotFoundError: It is gone.
        """
