"""The package as it is deployed, run with what is in it and nothing else."""

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import httpx
import pydicom
import pytest
from packaging.requirements import Requirement
from pydicom.data import get_testdata_file

from infra.package import PACKAGES, ROOT, build, write_zip
from tests.e2e.server import Server
from tests.infra.azd import left_out

# Packages come over the network where none of them has been fetched before.
pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.timeout(600)]

CT = Path(str(get_testdata_file("CT_small.dcm")))
JPEG_2000 = Path(str(get_testdata_file("JPEG2000.dcm")))
HOST_PACKAGES = ("azure-functions-runtime", "azure-storage-queue", "croniter", "uvicorn")
LARGEST_PACKAGE_BYTES = 140_000_000


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, laid out as Azure mounts it."""
    folder = tmp_path_factory.mktemp("package")
    build(ROOT, folder / "built")
    # How well it is compressed costs time, and changes nothing of what is in it.
    write_zip(folder / "built", folder / "app.zip", level=1)
    assert (folder / "app.zip").stat().st_size < LARGEST_PACKAGE_BYTES
    with zipfile.ZipFile(folder / "app.zip") as archive:
        archive.extractall(folder / "app")
    return folder / "app"


def needed(names: tuple[str, ...]) -> dict[str, Distribution]:
    """Distributions, and those that they need."""
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower()
        if name not in found:
            found[name] = distribution(name)
            requirements = map(Requirement, found[name].requires or ())
            waiting += [
                requirement.name
                for requirement in requirements
                if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            ]
    return found


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the local host and its own packages, and none of the app's."""
    folder = tmp_path_factory.mktemp("host")
    (folder / "localhost").symlink_to(ROOT / "localhost")
    for found in needed(HOST_PACKAGES).values():
        for file in found.files or ():
            if ".." in file.parts or file.suffix == ".pyc":
                continue
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / file).exists():
                (folder / file).symlink_to(Path(str(file.locate())))
    return folder


@pytest.fixture(scope="module")
def environment(
    package: Path, host: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The package's own packages come first, as on Azure, and those of this project not at all."""
    data = tmp_path_factory.mktemp("data")
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join((str(package / PACKAGES), str(host))),
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DATA_DIRECTORY": str(data / "data"),
    }


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter without the packages of this project."""
    return str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")


@pytest.fixture(scope="module")
def server(python: str, package: Path, environment: dict[str, str]) -> Iterator[Server]:
    prepare = "from shared.wiring import prepare; prepare()"
    subprocess.run([python, "-c", prepare], cwd=package, env=environment, check=True)
    data = Path(environment["DATA_DIRECTORY"])
    log = data.with_name("host.log")
    command = [python, "-m", "localhost", "--port", "0", "--workers", "1", "--data", str(data)]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            cwd=package,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        started = Server(process, log)
        yield started
        started.stop()
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_the_app_takes_its_packages_from_the_package(
    python: str, package: Path, environment: dict[str, str]
) -> None:
    code = (
        "import sys, function_app;"
        "print(*{m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)})"
    )
    done = subprocess.run(
        [python, "-c", code],
        cwd=package,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    files = done.stdout.split()
    assert len(files) > 500
    elsewhere = [file for file in files if not file.startswith((str(package), sys.base_prefix))]
    assert elsewhere == []


def test_every_module_of_the_app_is_compiled(package: Path) -> None:
    sources = [file for part in ("functions", "shared") for file in (package / part).rglob("*.py")]
    assert len(sources) > 100
    for source in [*sources, package / PACKAGES / "pydicom" / "dataset.py"]:
        assert (source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc").is_file()


def test_azd_deploys_all_of_the_package(package: Path) -> None:
    assert left_out(package, package / ".funcignore") == []
    # Whatever the ignore file says, it takes none of these.
    assert not {".azure", "local.settings.json"} & {path.name for path in package.rglob("*")}


@pytest.mark.parametrize("file", [CT, JPEG_2000], ids=lambda file: file.name)
def test_a_file_is_stored_found_retrieved_and_rendered(server: Server, file: Path) -> None:
    dataset = pydicom.dcmread(file)
    study = f"{server.v2}/studies/{dataset.StudyInstanceUID}"
    instance = f"{study}/series/{dataset.SeriesInstanceUID}/instances/{dataset.SOPInstanceUID}"
    with httpx.Client(timeout=60) as client:
        stored = client.post(
            f"{server.v2}/studies",
            content=file.read_bytes(),
            headers={"Content-Type": "application/dicom", "Accept": "application/dicom+json"},
        )
        assert stored.status_code == httpx.codes.OK, server.log()
        found = client.get(
            f"{server.v2}/studies", params={"StudyInstanceUID": dataset.StudyInstanceUID}
        )
        assert len(found.json()) == 1
        accept = {"Accept": "application/dicom; transfer-syntax=*"}
        assert client.get(instance, headers=accept).content == file.read_bytes()
        plain = {"Accept": "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"}
        transcoded = client.get(instance, headers=plain)
        assert pydicom.dcmread(io.BytesIO(transcoded.content)).pixel_array.shape
        rendered = client.get(f"{instance}/rendered", headers={"Accept": "image/png"})
        assert rendered.content.startswith(b"\x89PNG")
