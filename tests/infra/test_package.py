import os
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from infra.package import (
    PACKAGES,
    ROOT,
    app_files,
    install_command,
    is_ignored,
    let_all_through,
    patterns,
    write_zip,
)
from tests.infra.azd import left_out

TOP = {"durable", "functions", "shared", "function_app.py", "host.json", "LICENSE"}


def test_only_what_runs_on_azure_is_packed() -> None:
    files = app_files(ROOT)
    assert {path.parts[0] for path in files} == {*TOP, "requirements.txt"}
    assert PurePosixPath("shared/adapters/sql_index/migrations/env.py") in files


def test_nothing_of_this_machine_is_packed(tmp_path: Path) -> None:
    (tmp_path / ".funcignore").write_text((ROOT / ".funcignore").read_text())
    kept = ["host.json", "shared/docs/a.py", "shared/tests/a.py"]
    left = [
        ".env",
        ".data/index.sqlite",
        ".venv/bin/python",
        "dist/app.zip",
        "local.settings.json",
        "node_modules/a.js",
        "shared/.secret",
        "shared/__pycache__/a.cpython-313.pyc",
        "shared/a.pyc",
        "tests/a.py",
    ]
    for name in (*kept, *left):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path) for path in app_files(tmp_path)] == kept


@pytest.mark.parametrize("line", ["!kept", "a/b", "**/a"])
def test_lines_that_would_be_misread_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match="more than a name"):
        patterns(f"# a comment\n\n{line}\n")


def test_a_folder_is_not_a_file() -> None:
    assert is_ignored(PurePosixPath("a/tests"), ["tests/"], is_folder=True)
    assert not is_ignored(PurePosixPath("a/tests"), ["tests/"], is_folder=False)
    assert not is_ignored(PurePosixPath("a/tests"), ["/tests/"], is_folder=True)


def test_azd_takes_all_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    needed = [f"{PACKAGES}/a/__init__.py", f"{PACKAGES}/a/__pycache__/b.pyc", f"{PACKAGES}/.c/d.so"]
    for name in [*needed, "shared/__pycache__/a.cpython-313.pyc", "tests/a.py", "dist/a.py"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert set(left_out(folder, ROOT / ".funcignore")) > set(needed), "which is for the sources"
    let_all_through(folder)
    assert left_out(folder, folder / ".funcignore") == []


def test_packages_are_those_of_azures_machines() -> None:
    command = install_command(Path("requirements.txt"), Path("packages"))
    assert "--only-binary=:all:" in command
    assert command[command.index("--python-version") + 1] == "3.13"
    assert "manylinux_2_28_x86_64" in command


def test_the_same_files_give_the_same_package(tmp_path: Path) -> None:
    for name, names in (("first", "abc"), ("second", "cba")):
        for part in names:
            file = tmp_path / name / part / "file"
            file.parent.mkdir(parents=True)
            file.write_text(part * 100)
            os.utime(file, (len(name) * 1e8, len(name) * 1e8))
            file.chmod(0o600 if name == "first" else 0o644)
        write_zip(tmp_path / name, tmp_path / f"{name}.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "first.zip") as archive:
        assert archive.namelist() == ["a/file", "b/file", "c/file"]


def test_the_worker_looks_for_packages_where_they_are() -> None:
    assert str(PACKAGES) == ".python_packages/lib/site-packages"
