"""The corpus of real and hostile files, where it is installed."""

import csv
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("DICOM_CORPUS") or Path(__file__).parents[4] / "shared" / "corpus")
FILES = sorted(
    path for path in FOLDER.glob("*") if path.is_file() and path.suffix not in {".csv", ".md"}
)


@cache
def _manifest() -> dict[str, dict[str, str]]:
    with (FOLDER / "MANIFEST.csv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def expected(path: Path) -> str:
    """What the manifest expects of a file: ok, tolerate, may-refuse or must-refuse."""
    return _manifest()[path.name]["severity"]


def by_path(paths: Sequence[Path]) -> pytest.MarkDecorator:
    """Run a test on each file; all are slow but every fifth, and those that are no plain DICOM."""
    cases = [
        path
        if number % 5 == 0 or expected(path) != "ok"
        else pytest.param(path, marks=pytest.mark.slow)
        for number, path in enumerate(paths)
    ]
    return pytest.mark.parametrize("path", cases, ids=lambda path: path.name)


by_file = by_path(FILES)
