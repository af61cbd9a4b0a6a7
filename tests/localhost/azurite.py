"""The storage emulator: installed once into the cache folder, and run on ports of its own."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.server import ROOT

_VERSION = "3.37.0"
_FOLDER = ROOT / ".cache" / f"azurite-{_VERSION}"
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Known to everybody: the emulator's documentation states it."""
_LISTENING = re.compile(r"Azurite (\w+) service is successfully listening at (http://[\d.:]+)")


@contextmanager
def azurite() -> Iterator[str]:
    """Run it, and give its connection string."""
    command = ["node", str(_installed()), "--inMemoryPersistence"]
    command += ["--skipApiVersionCheck", "--disableTelemetry"]
    for service in ("blob", "queue", "table"):
        command += [f"--{service}Port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield _connection_string(process)
        finally:
            process.terminate()


def _installed() -> Path:
    if not _FOLDER.exists():
        partial = _FOLDER.with_name(f"{_FOLDER.name}.{os.getpid()}")
        command = ["npm", "install", "--prefix", str(partial), f"azurite@{_VERSION}"]
        command += ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        partial.mkdir(parents=True)
        try:
            subprocess.run(command, check=True)
            partial.rename(_FOLDER)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return _FOLDER / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"


def _connection_string(process: subprocess.Popen[str]) -> str:
    parts = ["DefaultEndpointsProtocol=http", f"AccountName={_ACCOUNT}", f"AccountKey={_KEY}"]
    endpoints = {}
    for line in process.stdout or ():
        if found := _LISTENING.search(line):
            endpoints[found[1]] = found[2]
        if len(endpoints) == 3:
            break
    parts += [f"{name}Endpoint={url}/{_ACCOUNT}" for name, url in endpoints.items()]
    return ";".join(parts) + ";"
