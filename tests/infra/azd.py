"""What azd does with a folder that it deploys, as its sources have it (`createDeployableZip`)."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory


def left_out(folder: Path, ignore_file: Path) -> list[str]:
    """The files of a folder that the patterns of an ignore file leave out, by git's own reading."""
    assert ignore_file.is_file(), "without one, azd leaves out the compiled modules"
    with TemporaryDirectory() as repository:
        git = ["git", f"--git-dir={repository}", f"--work-tree={folder}"]
        subprocess.run(["git", "init", "--quiet", "--bare", repository], check=True)
        listing = ["ls-files", "--others", "--ignored", f"--exclude-from={ignore_file}", "-z"]
        found = subprocess.run(
            [*git, *listing], cwd=folder, check=True, capture_output=True, text=True
        )
    return sorted(name for name in found.stdout.split("\0") if name)
