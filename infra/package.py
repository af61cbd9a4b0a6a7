"""Command: build the package that is deployed, with everything that the app needs in it.

Azure then builds nothing: its remote build stops after a minute, and what runs there is what was
tested here. The same sources give the same package, byte for byte.

Source: "Build options for Python function apps", local build.
"""

import fnmatch
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
DISTRIBUTION = ROOT / "dist"
PACKAGES = PurePosixPath(".python_packages/lib/site-packages")
"""Where the worker looks for packages, before it looks among its own."""

IGNORE_FILE = ".funcignore"
"""That of the sources says what is packed, that of the package what is deployed of it."""

_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
_PYTHON = "3.13"
_NOT_RUN = ("tests", "*.pyi", "*.pxd", "*.pyx", "*.h", "*.hpp")
"""Names of what packages bring for those who develop them, or build on them."""
_NOT_READ = ("bin", "pydicom/data/test_files")
"""Paths among the packages that nothing in the app opens."""
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16


def main() -> None:
    """Build the package as a folder, which azd takes, and as a file, which all else takes."""
    folder, file = DISTRIBUTION / "app", DISTRIBUTION / "app.zip"
    build(ROOT, folder)
    write_zip(folder, file)
    megabytes = file.stat().st_size / 1_000_000
    sys.stdout.write(f"{file.relative_to(ROOT)}: {megabytes:.1f} MB\n")


def build(root: Path, folder: Path) -> None:
    """Lay the app's files and its packages in a folder of their own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in app_files(root):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, folder / path)
    packages = folder / PACKAGES
    # The command is this interpreter's own pip, and every argument is made here.
    subprocess.run(install_command(root / "requirements.txt", packages), check=True)  # noqa: S603
    _strip(packages)
    _compile(folder)
    let_all_through(folder)


def let_all_through(folder: Path) -> None:
    """Say to azd that everything in the folder is to be deployed.

    It reads the ignore file of the folder that it deploys; where there is none, it leaves out what
    is compiled.
    """
    text = "# Nothing is left out: azd would leave out the compiled modules without this file.\n"
    (folder / IGNORE_FILE).write_text(text)


def install_command(requirements: Path, packages: Path) -> list[str]:
    """The command that installs packages as Azure's machines need them, wherever it is run."""
    platforms = [part for name in _PLATFORMS for part in ("--platform", name)]
    return [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-compile", "--only-binary=:all:", "--implementation", "cp"),
        *("--python-version", _PYTHON, *platforms),
        *("--target", str(packages), "--requirement", str(requirements)),
    ]


def app_files(root: Path) -> list[PurePosixPath]:
    """The files that .funcignore leaves, sorted."""
    ignored = patterns((root / IGNORE_FILE).read_text())
    return sorted(_kept(root, PurePosixPath(), ignored))


def patterns(text: str) -> list[str]:
    """The lines of a .funcignore, of which only the simple ones are understood.

    Raises:
        ValueError: A line is not a name, or a path from the root.
    """
    found = [line.strip() for line in text.splitlines()]
    found = [line for line in found if line and not line.startswith("#")]
    for line in found:
        if line.startswith("!") or "/" in line.strip("/") or "**" in line:
            raise ValueError(f"{line} in .funcignore is more than a name")
    return found


def is_ignored(path: PurePosixPath, ignored: Sequence[str], *, is_folder: bool) -> bool:
    """Whether a file or folder, below ones that are not ignored, is left out."""
    return any(
        fnmatch.fnmatchcase(path.name, line.strip("/"))
        for line in ignored
        if (is_folder or not line.endswith("/"))
        and (len(path.parts) == 1 or not line.startswith("/"))
    )


def _kept(root: Path, below: PurePosixPath, ignored: Sequence[str]) -> Iterator[PurePosixPath]:
    for entry in os.scandir(root / below):
        path = below / entry.name
        if is_ignored(path, ignored, is_folder=entry.is_dir()):
            continue
        if entry.is_dir():
            yield from _kept(root, path, ignored)
        else:
            yield path


def _strip(packages: Path) -> None:
    """Remove what is never run."""
    for path in [packages / name for name in _NOT_READ]:
        shutil.rmtree(path, ignore_errors=True)
    found = [path for name in _NOT_RUN for path in packages.rglob(name)]
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _compile(folder: Path) -> None:
    """Compile all modules: the package is mounted read-only, and each cold start would do it.

    Whether a compiled module is up to date is not asked, so times of files do not matter. What is
    written depends a little on what the process has compiled before, so there is one process.
    """
    command = (sys.executable, "-m", "compileall", "-qq")
    subprocess.run(  # noqa: S603 - as above
        [*command, "--invalidation-mode", "unchecked-hash", "-s", str(folder), str(folder)],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        check=True,
    )


def write_zip(folder: Path, file: Path, *, level: int = 6) -> None:
    """Write the files of a folder in order, as if all were made at one time."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _TIME)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, _MODE
            archive.writestr(info, path.read_bytes(), compresslevel=level)


if __name__ == "__main__":
    main()
