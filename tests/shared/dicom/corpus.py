"""The corpus of real and hostile files, where it is installed."""

import os
from pathlib import Path

FOLDER = Path(os.environ.get("DICOM_CORPUS") or Path(__file__).parents[4] / "shared" / "corpus")
FILES = sorted(
    path for path in FOLDER.glob("*") if path.is_file() and path.suffix not in {".csv", ".md"}
)
