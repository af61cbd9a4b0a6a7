"""Which adapter a setting chooses, and where the app refuses to be served."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared import wiring
from shared.adapters.key_vault_secrets import KeyVaultSecrets
from shared.adapters.local_secrets import LocalSecrets
from shared.settings import SettingsError
from tests.archive import open_archive
from tests.key_vault import running_key_vault

ROOT = Path(__file__).parents[2]


async def test_secrets_are_in_the_key_vault_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_key_vault(tmp_path) as vault:
        for name, value in vault.environment.items():
            monkeypatch.setenv(name, value)
        env = {"KEY_VAULT_URI": vault.uri, "AZURE_CLIENT_ID": "the-app"}
        async with open_archive(tmp_path, **env) as services:
            assert isinstance(services.secrets, KeyVaultSecrets)
            await services.secrets.set("export-1", "value")
            assert await services.secrets.get("export-1") == "value"
            services.secrets.close()
    assert vault.token_requests[0]["client_id"] == ["the-app"]
    assert not (tmp_path / "secrets.json").exists()


async def test_secrets_are_in_a_file_where_no_key_vault_is_named(tmp_path: Path) -> None:
    async with open_archive(tmp_path) as services:
        assert isinstance(services.secrets, LocalSecrets)


@pytest.mark.parametrize("host", [None, "", "0.0.0.0:7071"])
def test_a_worker_serves_nobody_without_authentication_unless_its_host_is_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str | None
) -> None:
    monkeypatch.setenv("DATA_DIRECTORY", str(tmp_path))
    monkeypatch.delenv("WEBSITE_HOSTNAME", raising=False)
    if host is not None:
        monkeypatch.setenv("WEBSITE_HOSTNAME", host)
    with pytest.raises(SettingsError, match="AUTHENTICATION is none, which is refused where"):
        wiring.services()


def _prepare(folder: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    code = "from shared.wiring import prepare; prepare()"
    values = {**os.environ, "DATA_DIRECTORY": str(folder), **env}
    run = [sys.executable, "-c", code]
    return subprocess.run(run, cwd=ROOT, env=values, capture_output=True, text=True, check=False)


def test_settings_that_are_wrong_are_named_before_any_worker_starts(tmp_path: Path) -> None:
    done = _prepare(tmp_path, WEBSITE_HOSTNAME="pacs.example.org")
    assert done.returncode == 1
    assert done.stderr == (
        "AUTHENTICATION is none, which is refused where others may call (pacs.example.org): "
        "set it to entra, or ALLOW_UNAUTHENTICATED to on\n"
    )


def test_the_index_is_prepared_where_nothing_is_served(tmp_path: Path) -> None:
    assert _prepare(tmp_path).returncode == 0
    assert (tmp_path / "index.sqlite").exists()


def test_what_is_prepared_is_open_to_nobody_else(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert _prepare(folder).returncode == 0
    made = [folder, folder / "index.sqlite", folder / "inbox"]
    assert [path.stat().st_mode & 0o077 for path in made] == [0, 0, 0]
