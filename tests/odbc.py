"""Microsoft's ODBC driver for SQL Server, and unixODBC, for tests on machines without them.

The driver comes with a dev package of ours. What loads it, and what it loads, are libraries of the
system; those that it lacks are taken from Debian's packages, unpacked below .cache: that needs no
root, and changes nothing outside the project.
"""

import ctypes
import fcntl
import os
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".cache" / "odbc"

# In the order in which they need each other.
_PACKAGES = {
    "libkeyutils.so.1": "libkeyutils1",
    "libcom_err.so.2": "libcom-err2",
    "libkrb5support.so.0": "libkrb5support0",
    "libk5crypto.so.3": "libk5crypto3",
    "libkrb5.so.3": "libkrb5-3",
    "libgssapi_krb5.so.2": "libgssapi-krb5-2",
    "libltdl.so.7": "libltdl7",
    "libodbc.so.2": "libodbc2",
    "libodbcinst.so.2": "libodbcinst2",
}


def driver_file() -> Path:
    """The driver itself."""
    spec = find_spec("mssql_python_odbc")
    assert spec is not None
    assert spec.origin is not None
    libraries = Path(spec.origin).parent / "libs" / "linux" / "debian_ubuntu"
    [driver] = libraries.glob("*/lib/libmsodbcsql-18*")
    return driver


@cache
def environment(folder: Path) -> Mapping[str, str]:
    """What a process needs in its environment to load the driver by its name.

    Args:
        folder: Gets the file in which the driver is registered.
    """
    registered = f"[ODBC Driver 18 for SQL Server]\nDriver={driver_file()}\n"
    (folder / "odbcinst.ini").write_text(registered)
    folders = sorted({str(library.parent) for library in _libraries()})
    paths = [*folders, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {"ODBCSYSINI": str(folder), "LD_LIBRARY_PATH": ":".join(paths)}


def load() -> None:
    """Load into this process what was unpacked, so that pyodbc can be imported."""
    for library in _libraries():
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


@cache
def _libraries() -> list[Path]:
    missing = [name for name in _PACKAGES if not _is_in_system(name)]
    if not missing:
        return []
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lacking = [name for name in missing if _unpacked(name) is None]
        if lacking:
            _unpack(_PACKAGES[name] for name in lacking)
    found = [_unpacked(name) for name in missing]
    return [library for library in found if library is not None]


def _is_in_system(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _unpacked(name: str) -> Path | None:
    return next(iter(sorted(CACHE.rglob(name))), None)


def _unpack(packages: Iterable[str]) -> None:
    folders = {"Dir::State::lists": CACHE / "lists", "Dir::Cache": CACHE / "apt"}
    for folder in folders.values():
        (folder / "partial").mkdir(parents=True, exist_ok=True)
    own = [f"-o{name}={folder}" for name, folder in folders.items()]
    names = list(packages)
    if _run("apt-get", "download", *names) != 0:  # The system has no lists of packages yet.
        _run("apt-get", *own, "update")
        assert _run("apt-get", *own, "download", *names) == 0, f"install {' '.join(names)}"
    for package in CACHE.glob("*.deb"):
        assert _run("dpkg-deb", "-x", str(package), str(CACHE)) == 0
        package.unlink()


def _run(*command: str) -> int:
    return subprocess.run(command, cwd=CACHE, capture_output=True, check=False).returncode
