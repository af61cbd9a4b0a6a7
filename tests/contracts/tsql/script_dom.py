"""Microsoft's own parser of T-SQL, ScriptDom, run on the .NET runtime that mssql-cli brings along.

It is installed once into the cache folder, from one wheel of a known hash, and runs in a process
of its own: `python -m tests.contracts.tsql.script_dom FOLDER` reads a JSON array of batches and
writes one of what is wrong with each.
"""

import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import pythonnet
from clr_loader import Runtime
from clr_loader.ffi import ffi
from clr_loader.types import RuntimeInfo, StrOrPath

ROOT = Path(__file__).parents[3]

needs_script_dom = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"),
    reason="the wheel with Microsoft's parser and its runtime is for Linux on x86-64",
)

_WHEEL = "mssql-cli==1.0.0"
_HASH = "sha256:edb3850ab8ffa077c64270f27263f6377fdb5bd5bb5c5b4990c5fb08f49627b6"
_PLATFORM = "manylinux1_x86_64"
_FOLDER = ROOT / ".cache" / _WHEEL.replace("==", "-")
_INSIDE = "mssqlcli/mssqltoolsservice/bin/"
_SCRIPT_DOM = "Microsoft.SqlServer.TransactSql.ScriptDom"
_WANTED = ("System.", "netstandard.", "Microsoft.CSharp.", "libcoreclr.so", "libclrjit.so")


def faults(batches: Sequence[str]) -> list[list[str]]:
    """What is wrong with each batch, by line and column; nothing with most."""
    command = [sys.executable, "-m", "tests.contracts.tsql.script_dom", str(_installed())]
    run = subprocess.run(
        command,
        input=json.dumps(list(batches)),
        capture_output=True,
        cwd=ROOT,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found: list[list[str]] = json.loads(run.stdout)
    return found


def _installed() -> Path:
    if not _FOLDER.exists():
        partial = _FOLDER.with_name(f"{_FOLDER.name}.{os.getpid()}")
        partial.mkdir(parents=True)
        try:
            _extract(_downloaded(partial), partial)
            partial.rename(_FOLDER)
        except OSError:
            if not _FOLDER.exists():  # Else another process was faster.
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return _FOLDER


def _downloaded(folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{_WHEEL} --hash={_HASH}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--platform", _PLATFORM]
    subprocess.run([*command, "-d", str(folder), "-r", str(requirements)], check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def _extract(wheel: Path, folder: Path) -> None:
    with ZipFile(wheel) as archive:
        for name in archive.namelist():
            file = name.removeprefix(_INSIDE)
            if file != name and file.startswith((*_WANTED, f"{_SCRIPT_DOM}.dll")):
                (folder / file).write_bytes(archive.read(name))
    wheel.unlink()


class _DotNet(Runtime):
    """A .NET runtime in a folder, hosted in this process.

    Microsoft: Write a custom .NET host to control the .NET runtime from your native code.
    """

    def __init__(self, folder: Path, assemblies: Sequence[Path]) -> None:
        self._core = ctypes.CDLL(str(folder / "libcoreclr.so"))
        self._host, self._domain = ctypes.c_void_p(), ctypes.c_uint()
        properties = {
            "TRUSTED_PLATFORM_ASSEMBLIES": ":".join(map(str, assemblies)),
            "NATIVE_DLL_SEARCH_DIRECTORIES": str(folder),
            "System.Globalization.Invariant": "true",  # Else it looks for ICU on the machine.
        }
        texts = ctypes.c_char_p * len(properties)
        outcome = self._core.coreclr_initialize(
            sys.executable.encode(),
            b"python",
            len(properties),
            texts(*(key.encode() for key in properties)),
            texts(*(value.encode() for value in properties.values())),
            ctypes.byref(self._host),
            ctypes.byref(self._domain),
        )
        assert outcome == 0, f"coreclr_initialize: {outcome & 0xFFFFFFFF:#x}"

    def _get_callable(
        self, assembly_path: StrOrPath, typename: str, function: str
    ) -> Callable[[Any, int], Any]:
        found = ctypes.c_void_p()
        outcome = self._core.coreclr_create_delegate(
            self._host,
            self._domain,
            Path(assembly_path).stem.encode(),
            typename.encode(),
            function.encode(),
            ctypes.byref(found),
        )
        assert outcome == 0, f"coreclr_create_delegate: {outcome & 0xFFFFFFFF:#x}"
        method = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)(found.value or 0)
        return lambda buffer, size: method(int(ffi.cast("intptr_t", buffer)), size)

    def info(self) -> RuntimeInfo:
        return RuntimeInfo("CoreCLR", "", initialized=True, shutdown=False, properties={})

    def shutdown(self) -> None:
        """It ends with the process."""


def _parse(folder: Path, batches: Sequence[str]) -> list[list[str]]:
    bridge = Path(pythonnet.__file__).parent / "runtime" / "Python.Runtime.dll"
    pythonnet.load(_DotNet(folder, [*folder.glob("*.dll"), bridge]))

    import clr  # The namespaces of .NET can be imported once it runs.

    clr.AddReference(_SCRIPT_DOM)
    from Microsoft.SqlServer.TransactSql.ScriptDom import TSql150Parser
    from System.IO import StringReader

    parser = TSql150Parser(True)  # noqa: FBT003 - QUOTED_IDENTIFIER is on, as ODBC sets it
    return [
        [
            f"{error.Line}:{error.Column} {error.Message}"
            for error in parser.Parse(StringReader(batch), None)[1]
        ]
        for batch in batches
    ]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_parse(Path(sys.argv[1]), json.load(sys.stdin))))
