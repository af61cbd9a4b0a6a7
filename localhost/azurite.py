"""Azurite, the emulator of a storage account: installed once, and run on loopback ports."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from localhost.errors import StartError
from localhost.installing import installed_once

SERVICES = ("blob", "queue", "table")

_VERSION = "3.37.0"
_CACHE = Path(__file__).parents[1] / ".cache" / f"azurite-{_VERSION}"
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Known to everybody: the emulator's documentation states it."""
_LISTENING = re.compile(r"Azurite (\w+) service is successfully listening at (https?://[\d.:]+)")
_STOP_SECONDS = 20
_RUN = """
process.stdout.on("error", () => {});
process.stdin.on("end", () => process.kill(process.pid, "SIGTERM")).resume().unref();
require(process.argv[1]);
"""
"""It saves its data and ends when its standard input does, so also when we are killed."""


@dataclass(frozen=True, slots=True)
class Azurite:
    """A running emulator; `endpoints` are the URLs of its services, by their names."""

    endpoints: dict[str, str]
    process: "subprocess.Popen[str]"

    @property
    def connection_string(self) -> str:
        """What clients of all its services take."""
        scheme = self.endpoints["blob"].partition(":")[0]
        parts = [f"DefaultEndpointsProtocol={scheme}", f"AccountName={_ACCOUNT}"]
        parts += [f"AccountKey={_KEY}"]
        parts += [
            f"{name.capitalize()}Endpoint={self.endpoints[name]}/{_ACCOUNT}" for name in SERVICES
        ]
        return ";".join(parts) + ";"

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports of its services, to be taken again by its successor."""
        return tuple(int(self.endpoints[name].rpartition(":")[2]) for name in SERVICES)


@contextmanager
def azurite(
    folder: Path | None = None, *, ports: Sequence[int] = (0, 0, 0), options: Sequence[str] = ()
) -> Iterator[Azurite]:
    """Run it with its data in a folder, without one in memory; port 0 takes a free one.

    Raises:
        StartError: There is no Node.js, or the emulator does not start.
    """
    place = ["--inMemoryPersistence"] if folder is None else ["--location", str(folder)]
    command = [_node(), "-e", _RUN, str(installed()), *place, *options]
    # A log that nobody reads would fill its pipe, and stop it.
    command += ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    for service, port in zip(SERVICES, ports, strict=True):
        command += [f"--{service}Port", str(port)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Whoever interrupts us at a terminal gets our last requests answered.
        process_group=0,
    ) as process:
        try:
            yield Azurite(_endpoints(process), process)
        finally:
            _stop(process, has_data=folder is not None)


def _stop(process: "subprocess.Popen[str]", *, has_data: bool) -> None:
    """Let it save its data, if there are any."""
    if has_data:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    process.kill()


def _node() -> str:
    found = shutil.which("node")
    if found is None:
        raise StartError("Azurite needs Node.js")
    return found


def installed() -> Path:
    """The emulator's program, which the first that asks for it installs while others wait.

    Raises:
        StartError: npm is missing or fails.
    """
    folder = installed_once(_CACHE, _install)
    return folder / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"


def _install(folder: Path) -> None:
    command = ["npm", "install", "--prefix", str(folder), f"azurite@{_VERSION}"]
    command += ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        raise StartError("Azurite cannot be installed by npm") from error


def _endpoints(process: "subprocess.Popen[str]") -> dict[str, str]:
    endpoints: dict[str, str] = {}
    for line in process.stdout or ():
        if found := _LISTENING.search(line):
            endpoints[found[1].lower()] = found[2]
        if len(endpoints) == len(SERVICES):
            return endpoints
    raise StartError("Azurite does not start")
