"""What a keeper of secrets promises, and what those in a file and a Key Vault promise beyond."""

import asyncio
import logging
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from shared.adapters.key_vault_secrets import KeyVaultSecrets
from shared.adapters.local_secrets import LocalSecrets
from shared.errors import StoreUnavailableError
from shared.ports import Secrets
from tests.key_vault import KeyVault, running_key_vault

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
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyVault]:
    with running_key_vault(tmp_path) as vault:
        for name, value in vault.environment.items():
            monkeypatch.setenv(name, value)
        yield vault


@pytest.fixture
def key_vault(vault: KeyVault) -> Iterator[KeyVaultSecrets]:
    secrets = KeyVaultSecrets(vault.uri, "the-app")
    yield secrets
    secrets.close()


@pytest.fixture(params=["file", "key_vault"])
def secrets(request: pytest.FixtureRequest, file: Path) -> Secrets:
    if request.param == "file":
        return LocalSecrets(file)
    found: Secrets = request.getfixturevalue("key_vault")
    return found


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


async def test_a_removed_secret_may_be_set_anew(secrets: Secrets) -> None:
    for value in ("1", "2", "3"):
        await secrets.set("a", value)
        assert await secrets.get("a") == value
        await secrets.delete("a")
        assert await secrets.get("a") is None


async def test_a_long_secret_is_kept_whole(secrets: Secrets) -> None:
    await secrets.set("a", "x" * 20_000)
    assert await secrets.get("a") == "x" * 20_000


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


@pytest.fixture
def local(file: Path) -> LocalSecrets:
    return LocalSecrets(file)


async def test_only_the_owner_may_read_the_files_whatever_the_umask(
    local: LocalSecrets, file: Path
) -> None:
    before = os.umask(0)
    try:
        await local.set("a", "1")
        await local.set("b", "2")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    assert modes == {"secrets.json": 0o600, "secrets.json.lock": 0o600}


async def test_processes_that_write_at_once_lose_nothing(local: LocalSecrets, file: Path) -> None:
    processes = [_start(file, number, 10) for number in range(3)]
    assert [await asyncio.to_thread(process.wait) for process in processes] == [0, 0, 0]
    assert orjson.loads(file.read_bytes()).keys() == {
        f"p{process}-{number}" for process in range(3) for number in range(10)
    }
    assert await local.get("p2-9") == "x" * 1000


async def test_a_process_killed_while_it_writes_loses_nothing_that_was_set(
    local: LocalSecrets, file: Path
) -> None:
    await local.set("kept", "1")
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
        assert await local.get("kept") == "1"
    await local.set("after", "2")
    assert await local.get("after") == "2"


async def test_what_a_write_cut_short_has_left_is_never_read(
    local: LocalSecrets, file: Path
) -> None:
    await local.set("a", "1")
    file.with_name("secrets.json.new").write_bytes(b'{"a": "ha')
    assert await local.get("a") == "1"
    await local.set("b", "2")
    assert (await local.get("a"), await local.get("b")) == ("1", "2")
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
    local: LocalSecrets, file: Path, content: bytes
) -> None:
    file.write_bytes(content)
    with pytest.raises(StoreUnavailableError):
        await local.get("a")
    with pytest.raises(StoreUnavailableError):
        await local.set("b", "2")
    assert file.read_bytes() == content


# --- in a Key Vault -----------------------------------------------------------------------------


async def test_the_vault_is_used_by_the_identity_of_the_app(
    key_vault: KeyVaultSecrets, vault: KeyVault
) -> None:
    await key_vault.set("a", "1")
    await key_vault.get("a")
    [query] = vault.token_requests
    assert query["client_id"] == ["the-app"]
    assert query["resource"] == ["https://vault.azure.net"]
    assert vault.asked == [("PUT", "/secrets/a"), ("GET", "/secrets/a/")]


async def test_a_secret_that_is_being_removed_or_recovered_is_waited_for(
    key_vault: KeyVaultSecrets, vault: KeyVault
) -> None:
    vault.settling_seconds = 0.3
    await key_vault.set("a", "1")
    await key_vault.delete("a")
    assert await key_vault.get("a") is None
    await key_vault.set("a", "2")
    assert await key_vault.get("a") == "2"
    assert ("POST", "/deletedsecrets/a/recover") in vault.asked


async def test_processes_that_set_a_removed_secret_at_once_all_succeed(
    key_vault: KeyVaultSecrets, vault: KeyVault
) -> None:
    await key_vault.set("a", "1")
    await key_vault.delete("a")
    vault.settling_seconds = 0.2
    await asyncio.gather(*(key_vault.set("a", str(number)) for number in range(5)))
    assert await key_vault.get("a") in {str(number) for number in range(5)}


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_trouble_that_passes_is_not_noticed(
    key_vault: KeyVaultSecrets, vault: KeyVault, status: int
) -> None:
    await key_vault.set("a", "1")
    vault.failures = [status]
    assert await key_vault.get("a") == "1"


@pytest.mark.parametrize("status", [403, 503])
async def test_trouble_that_stays_makes_the_secrets_unavailable(
    key_vault: KeyVaultSecrets, vault: KeyVault, status: int
) -> None:
    for use in (key_vault.get("a"), key_vault.set("a", "1"), key_vault.delete("a")):
        vault.failures = [status] * 3
        with pytest.raises(StoreUnavailableError):
            await use
        vault.failures = []


async def test_a_challenge_for_another_resource_gets_no_token(
    key_vault: KeyVaultSecrets, vault: KeyVault
) -> None:
    vault.resource = "https://vault.attacker.test"
    with pytest.raises(StoreUnavailableError):
        await key_vault.get("a")
    assert vault.token_requests == []


async def test_a_vault_whose_certificate_is_not_trusted_gets_no_token(
    key_vault: KeyVaultSecrets, vault: KeyVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(StoreUnavailableError):
        await key_vault.get("a")
    assert vault.token_requests == []


async def test_an_identity_that_gets_no_token_makes_the_secrets_unavailable(
    key_vault: KeyVaultSecrets, vault: KeyVault
) -> None:
    vault.environment["IDENTITY_HEADER"] = "another"
    with pytest.raises(StoreUnavailableError):
        await key_vault.get("a")


async def test_no_value_of_a_secret_is_logged(
    key_vault: KeyVaultSecrets, vault: KeyVault, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("azure", "azure.core", "azure.identity", "msal", "urllib3", ""):
        caplog.set_level(logging.DEBUG, name)
    await key_vault.set("a", "canary")
    await key_vault.get("a")
    await key_vault.delete("a")
    await key_vault.set("a", "canary")
    vault.failures = [503] * 3
    with pytest.raises(StoreUnavailableError):
        await key_vault.set("b", "canary")
    assert "azure.core" in {record.name.rpartition(".pipeline")[0] for record in caplog.records}
    assert "canary" not in caplog.text
