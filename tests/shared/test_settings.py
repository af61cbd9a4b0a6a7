from datetime import timedelta
from pathlib import Path

import pytest

from shared.settings import EmptySearchStatus, Partitions, Settings, SettingsError


def test_the_data_directory_is_all_that_must_be_said(tmp_path: Path) -> None:
    settings = Settings.from_env({"DATA_DIRECTORY": str(tmp_path)})

    assert settings.data_directory == tmp_path
    assert settings.embedded_sync
    assert settings.data_partitions is Partitions.OPTIONAL


def test_settings_are_read_with_the_units_of_their_names(tmp_path: Path) -> None:
    settings = Settings.from_env(
        {
            "DATA_DIRECTORY": str(tmp_path),
            "EMBEDDED_SYNC": "off",
            "DATA_PARTITIONS": "required",
            "DELETED_BLOB_GRACE_SECONDS": "60",
            "EMPTY_SEARCH_STATUS_V2": "200",
        }
    )

    assert not settings.embedded_sync
    assert settings.data_partitions is Partitions.REQUIRED
    assert settings.deleted_blob_grace_seconds == timedelta(minutes=1)
    assert settings.empty_search_status_v2 is EmptySearchStatus.OK


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({"EMBEDDED_SYNC": "maybe", "STORE_MAX_PARTS": "0"})

    message = str(refused.value)
    assert "DATA_DIRECTORY is missing" in message
    assert "EMBEDDED_SYNC is wrong" in message
    assert "STORE_MAX_PARTS is wrong" in message


def test_the_request_limit_lies_below_that_of_the_host(tmp_path: Path) -> None:
    env = {"DATA_DIRECTORY": str(tmp_path), "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1000000"}

    assert Settings.from_env(env).store_max_request_bytes < 1_000_000
    with pytest.raises(SettingsError, match="STORE_MAX_REQUEST_BYTES"):
        Settings.from_env({**env, "STORE_MAX_REQUEST_BYTES": "1000000"})
