import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from localhost.errors import StartError
from localhost.settings import Settings


def _read(app: Path, shell: Mapping[str, str] | None = None, **files: str) -> Settings:
    """The settings of an app with these files; a double underscore stands for a dot."""
    for name, text in {"host__json": "{}", **files}.items():
        (app / name.replace("__", ".")).write_text(text)
    return Settings.read(app, app / "data", shell or {})


def _local(**values: str) -> str:
    return json.dumps({"IsEncrypted": False, "Values": values})


def test_the_app_is_told_its_data_folder(tmp_path: Path) -> None:
    environment = _read(tmp_path, {"DATA_DIRECTORY": "/elsewhere"}).environment
    assert environment["DATA_DIRECTORY"] == str(tmp_path / "data")


def test_local_settings_are_in_the_environment(tmp_path: Path) -> None:
    settings = _read(tmp_path, local__settings__json=_local(COLOUR="red"))
    assert settings.environment["COLOUR"] == "red"


def test_what_the_project_sets_is_in_the_environment_as_text(tmp_path: Path) -> None:
    settings = _read(tmp_path, pyproject__toml="[tool.localhost.settings]\nSIZE = 12\n")
    assert settings.environment["SIZE"] == "12"


def test_the_project_names_the_settings_that_the_emulator_takes_over(tmp_path: Path) -> None:
    settings = _read(tmp_path, pyproject__toml='[tool.localhost]\nstorage = ["HOST", "DATA"]\n')
    assert settings.storage == ("HOST", "DATA")


def test_the_shell_wins_over_local_settings_and_those_over_the_project(tmp_path: Path) -> None:
    settings = _read(
        tmp_path,
        {"A": "shell"},
        local__settings__json=_local(A="local", B="local"),
        pyproject__toml='[tool.localhost.settings]\nA = "project"\nB = "project"\nC = "project"\n',
    )
    assert [settings.environment[name] for name in "ABC"] == ["shell", "local", "project"]


def test_an_app_without_settings_has_the_defaults_of_the_real_host(tmp_path: Path) -> None:
    settings = _read(tmp_path)
    assert settings.route_prefix == "api"
    assert settings.body_limit_bytes == 104_857_600
    assert settings.task_hub == "TestHub"
    assert settings.prepare is None
    assert settings.storage == ()


def test_host_json_names_the_prefix_and_the_task_hub(tmp_path: Path) -> None:
    extensions = {"http": {"routePrefix": ""}, "durableTask": {"hubName": "Hub"}}
    settings = _read(tmp_path, host__json=json.dumps({"extensions": extensions}))
    assert (settings.route_prefix, settings.task_hub) == ("", "Hub")


def test_the_body_limit_is_a_setting(tmp_path: Path) -> None:
    settings = _read(tmp_path, {"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1000"})
    assert settings.body_limit_bytes == 1000


def test_a_body_limit_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT.*1 GB"):
        _read(tmp_path, {"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1 GB"})


def test_the_project_names_what_makes_the_app_ready(tmp_path: Path) -> None:
    settings = _read(tmp_path, pyproject__toml='[tool.localhost]\nprepare = "app:ready"\n')
    assert settings.prepare == "app:ready"


def test_a_folder_without_an_app_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no function app"):
        Settings.read(tmp_path, tmp_path / "data", {})


@pytest.mark.parametrize("name", ["host__json", "local__settings__json", "pyproject__toml"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(StartError, match=name.replace("__", r"\.")):
        _read(tmp_path, {}, **{name: "{["})
