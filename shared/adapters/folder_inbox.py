"""The inbox as a folder: files are moved, links are not followed."""

import asyncio
import errno
import fcntl
import filecmp
import hashlib
import os
import shutil
import signal
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from io import BufferedReader
from pathlib import Path, PurePosixPath
from uuid import uuid4

from shared.adapters.failed_names import REASON, failed_names
from shared.errors import BlobNotFoundError, InboxFileError, StoreUnavailableError
from shared.ports import InboxFile

_CHUNK_BYTES = 1_048_576
_UNFINISHED = (".tmp", ".part")
"""Ends of names that careful programs write under until a file is whole."""
_TAKEN = ".taken"
"""End of the hidden names that files have while they are removed.

What a crash leaves under one is listed, so that it is taken in once more.
"""
_BELIEVED_OPEN = timedelta(hours=1)
"""For so long after its last change a file is believed to be open for writing.

Some network file systems say so of every file, and who copies may hang.
"""
_OF_ONE_FILE = {errno.EACCES, errno.EPERM, errno.EXDEV}
_UNNAMABLE = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}


class FolderInbox:
    """Files below a folder, and refused ones below another; without `sync`, as ObstoreBlobs."""

    def __init__(self, folder: Path, failed: Path, *, sync: bool = True) -> None:
        for made in (folder, failed):
            made.mkdir(parents=True, exist_ok=True)
        self._folder = folder.resolve()
        self._failed = failed.resolve()
        self._is_synced = sync

    async def open(self, name: str) -> tuple[InboxFile, AsyncIterator[bytes]]:
        """See Inbox."""
        file = await _run(self._find, name)
        return file, self._read(file)

    def _find(self, name: str) -> InboxFile:
        file = _described(name, self._path(name))
        self._same(file)
        return file

    async def _read(self, file: InboxFile) -> AsyncIterator[bytes]:
        source = await _run(self._opened, file)
        try:
            while chunk := await _run(source.read, _CHUNK_BYTES):
                yield chunk
            # What was given may be a mixture if it was written to meanwhile.
            await _run(self._same, file)
        finally:
            source.close()

    def _opened(self, file: InboxFile) -> BufferedReader:
        return self._same(file).open("rb")

    def _same(self, file: InboxFile) -> Path:
        """Where a file lies, if it is as it was found and nobody is writing to it."""
        path = self._path(file.name)
        if not _is_as_found(file, path):
            raise BlobNotFoundError("The file was or is being written again.")
        return path

    def _path(self, name: str) -> Path:
        """Where a file lies, which is below the folder, whatever its name and links say."""
        if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
            raise BlobNotFoundError("There is no file of such a name.")
        below = PurePosixPath(name)
        parent = self._folder / below.parent
        if parent.resolve() != parent:
            raise BlobNotFoundError("A link leads elsewhere.")
        return parent / below.name

    async def list(self) -> AsyncIterator[InboxFile]:
        """See Inbox; without what is hidden, says that it is unfinished or is being written."""
        folders = self._folders()
        while (files := await _run(next, folders, None)) is not None:
            for file in files:
                yield file

    def _folders(self) -> Iterator[Sequence[InboxFile]]:
        for folder, _, names in os.walk(self._folder):
            yield list(self._files(Path(folder), names))

    def _files(self, folder: Path, names: Sequence[str]) -> Iterator[InboxFile]:
        for name in names:
            path = folder / name
            if not _is_finished(path):
                continue
            with suppress(
                BlobNotFoundError, FileNotFoundError, PermissionError, UnicodeEncodeError
            ):
                name.encode()  # Names in another encoding cannot be told to a trigger.
                file = _described(path.relative_to(self._folder).as_posix(), path)
                if not _is_written_to(path, file.changed):
                    yield file

    async def remove(self, file: InboxFile) -> None:
        """See Inbox."""
        with suppress(BlobNotFoundError):
            await _run(self._remove, file)

    def _remove(self, file: InboxFile) -> None:
        """Remove a file under a name by which nobody can open it any more."""
        source = self._same(file)
        taken = source.with_name(f".{file.version}{_TAKEN}")
        source.rename(taken)
        if _is_as_found(file, taken):
            taken.unlink()
        else:
            _put_back(taken, source)

    async def set_aside(self, file: InboxFile, reason: bytes) -> None:
        """See Inbox."""
        with suppress(BlobNotFoundError):
            await _run(self._set_aside, file, reason)

    def _set_aside(self, file: InboxFile, reason: bytes) -> None:
        source = self._same(file)
        names = failed_names(file.name, lambda: _digest(source))
        if not any(self._is_kept(source, name, reason) for name in names):
            raise OSError(errno.EEXIST, "no name can be had")
        self._remove(file)

    def _is_kept(self, source: Path, name: str, reason: bytes) -> bool:
        """Keep a file under a name, unless the name cannot be had."""
        try:
            return self._keep(source, name, reason)
        except OSError as error:
            if error.errno in _UNNAMABLE:
                return False
            raise

    def _keep(self, source: Path, name: str, reason: bytes) -> bool:
        target = self._failed / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not filecmp.cmp(source, target, shallow=False):
            return False
        self._write(target.with_name(target.name + REASON), reason)
        if not target.exists():
            self._move_in(source, target)
        return True

    def _write(self, path: Path, content: bytes) -> None:
        with self._staged() as staged:
            staged.write_bytes(content)
            self._sync(staged)
            staged.replace(path)
            self._settle(path)

    def _move_in(self, source: Path, target: Path) -> None:
        try:
            self._sync(source)
            target.hardlink_to(source)
        except PermissionError:  # Of others' files, which may be neither read nor linked.
            source.rename(target)
        except OSError:  # The folders are on different disks, or one that has no hard links.
            with self._staged() as staged:
                shutil.copyfile(source, staged)
                self._sync(staged)
                staged.rename(target)
        self._settle(target)

    @contextmanager
    def _staged(self) -> Iterator[Path]:
        staged = self._failed / f".{uuid4().hex}.tmp"
        try:
            yield staged
        finally:
            staged.unlink(missing_ok=True)

    def _settle(self, path: Path) -> None:
        """Let the name of a file, and of the folders above it, survive a power cut."""
        for folder in path.relative_to(self._failed).parents:
            self._sync(self._failed / folder)

    def _sync(self, path: Path) -> None:
        if not self._is_synced:
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


async def _run[**P, R](function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    def translated() -> R:
        try:
            return function(*args, **kwargs)
        except OSError as error:
            if error.errno in _UNNAMABLE or isinstance(error, FileNotFoundError):
                raise BlobNotFoundError("There is no such file.") from error
            if error.errno in _OF_ONE_FILE:
                # Without the cause, which tells the name.
                raise InboxFileError("The file may not be read, moved or removed.") from None
            raise StoreUnavailableError("The inbox cannot be read or written.") from error

    return await asyncio.to_thread(translated)


def _described(name: str, path: Path) -> InboxFile:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise BlobNotFoundError("There is no file of this name.")
    # A copy may bring the time of its original along; when its node changed cannot be set.
    changed = datetime.fromtimestamp(max(status.st_mtime, status.st_ctime), UTC)
    version = f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
    return InboxFile(name, version, status.st_size, changed)


def _is_finished(path: Path) -> bool:
    is_hidden = path.name.startswith(".") and path.suffix != _TAKEN
    return not is_hidden and path.suffix not in _UNFINISHED


def _is_as_found(file: InboxFile, path: Path) -> bool:
    is_same = _described(file.name, path).version == file.version
    return is_same and not _is_written_to(path, file.changed)


def _is_written_to(path: Path, changed: datetime) -> bool:
    """Whether a program has a file open to write to it, where Linux tells (fcntl(2), leases).

    Of files of others it does not, nor on some file systems.
    """
    if not hasattr(fcntl, "F_SETLEASE") or datetime.now(UTC) - changed > _BELIEVED_OPEN:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False  # Who reads it is told why.
    try:
        # Who opens it to write at this very moment would otherwise end this process by a signal.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(descriptor)
    return False


def _put_back(taken: Path, source: Path) -> None:
    """Give a file its name again; where it cannot have it, it is listed under the hidden one."""
    with suppress(OSError):
        source.hardlink_to(taken)
        taken.unlink()
