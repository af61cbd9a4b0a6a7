"""The corpus of real and hostile files, where it is installed."""

import csv
import os
from functools import cache
from pathlib import Path

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
