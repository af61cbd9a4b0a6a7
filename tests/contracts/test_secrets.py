"""What a keeper of secrets promises, and what the one in a file promises beyond."""

import asyncio
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from shared.adapters.local_secrets import LocalSecrets
from shared.errors import StoreUnavailableError
from shared.ports import Secrets

ROOT = Path(__file__).parents[2]
WRITES = """
import asyncio, sys
from pathlib import Path
from shared.adapters.local_secrets import LocalSecrets

async def run(file, process, count):
    for number in range(int(count)):
        await LocalSecrets(Path(file)).set(f"p{process}-{number}", "x" * 1000)

asyncio.run(run(*sys.argv[1:]))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "secrets.json"


@pytest.fixture
def secrets(file: Path) -> Secrets:
    return LocalSecrets(file)


def _start(file: Path, process: int, count: int) -> "subprocess.Popen[bytes]":
    arguments = [sys.executable, "-c", WRITES, str(file), str(process), str(count)]
    return subprocess.Popen(arguments, cwd=ROOT)


async def test_a_secret_is_read_as_it_was_set(secrets: Secrets) -> None:
    value = 'sig=ü%2F"\n\\'
    await secrets.set("export-1", value)
    assert await secrets.get("export-1") == value


async def test_a_secret_that_was_never_set_is_none(secrets: Secrets) -> None:
    assert await secrets.get("fhir") is None
    await secrets.set("other", "x")
    assert await secrets.get("fhir") is None


async def test_setting_again_replaces_one_secret_only(secrets: Secrets) -> None:
    await secrets.set("a", "1")
    await secrets.set("b", "2")
    await secrets.set("a", "3")
    assert (await secrets.get("a"), await secrets.get("b")) == ("3", "2")


async def test_a_removed_secret_is_gone_and_removing_it_again_is_no_error(
    secrets: Secrets,
) -> None:
    await secrets.set("a", "1")
    await secrets.set("b", "2")
    await secrets.delete("a")
    await secrets.delete("a")
    assert (await secrets.get("a"), await secrets.get("b")) == (None, "2")


@pytest.mark.parametrize("name", ["", "a/b", "a.b", "a_b", "ä", "a\n", "a" * 128])
async def test_a_name_has_letters_digits_and_dashes_only(secrets: Secrets, name: str) -> None:
    with pytest.raises(ValueError, match="letters"):
        await secrets.set(name, "x")
    with pytest.raises(ValueError, match="letters"):
        await secrets.get(name)
    with pytest.raises(ValueError, match="letters"):
        await secrets.delete(name)


# --- in a file ----------------------------------------------------------------------------------


async def test_only_the_owner_may_read_the_files_whatever_the_umask(
    secrets: Secrets, file: Path
) -> None:
    before = os.umask(0)
    try:
        await secrets.set("a", "1")
        await secrets.set("b", "2")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    assert modes == {"secrets.json": 0o600, "secrets.json.lock": 0o600}


async def test_processes_that_write_at_once_lose_nothing(secrets: Secrets, file: Path) -> None:
    processes = [_start(file, number, 10) for number in range(3)]
    assert [await asyncio.to_thread(process.wait) for process in processes] == [0, 0, 0]
    assert orjson.loads(file.read_bytes()).keys() == {
        f"p{process}-{number}" for process in range(3) for number in range(10)
    }
    assert await secrets.get("p2-9") == "x" * 1000


async def test_a_process_killed_while_it_writes_loses_nothing_that_was_set(
    secrets: Secrets, file: Path
) -> None:
    await secrets.set("kept", "1")
    for round_ in range(3):
        process = _start(file, round_, 1_000_000)
        deadline = time.monotonic() + 30
        while f"p{round_}-1" not in orjson.loads(file.read_bytes()):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.003 * round_)
        process.kill()
        process.wait()
        numbers = [
            int(name.partition("-")[2])
            for name in orjson.loads(file.read_bytes())
            if name.startswith(f"p{round_}-")
        ]
        assert sorted(numbers) == list(range(len(numbers)))
        assert await secrets.get("kept") == "1"
    await secrets.set("after", "2")
    assert await secrets.get("after") == "2"


async def test_what_a_write_cut_short_has_left_is_never_read(secrets: Secrets, file: Path) -> None:
    await secrets.set("a", "1")
    file.with_name("secrets.json.new").write_bytes(b'{"a": "ha')
    assert await secrets.get("a") == "1"
    await secrets.set("b", "2")
    assert (await secrets.get("a"), await secrets.get("b")) == ("1", "2")
    assert not file.with_name("secrets.json.new").exists()


async def test_a_file_that_cannot_be_used_makes_the_secrets_unavailable(tmp_path: Path) -> None:
    no_folder = LocalSecrets(tmp_path / "none" / "secrets.json")
    with pytest.raises(StoreUnavailableError):
        await no_folder.set("a", "1")
    (tmp_path / "secrets.json").mkdir()
    in_the_way = LocalSecrets(tmp_path / "secrets.json")
    with pytest.raises(StoreUnavailableError):
        await in_the_way.get("a")
    with pytest.raises(StoreUnavailableError):
        await in_the_way.set("a", "1")


@pytest.mark.parametrize("content", [b'{"a": "ha', b"[1]", b"\xff", b'{"a": 1}'])
async def test_a_damaged_file_is_neither_read_nor_overwritten(
    secrets: Secrets, file: Path, content: bytes
) -> None:
    file.write_bytes(content)
    with pytest.raises(StoreUnavailableError):
        await secrets.get("a")
    with pytest.raises(StoreUnavailableError):
        await secrets.set("b", "2")
    assert file.read_bytes() == content
