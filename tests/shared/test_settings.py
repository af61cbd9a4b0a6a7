from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from shared.settings import (
    HOST_BODY_LIMIT,
    HOST_NAME,
    Authentication,
    EmptySearchStatus,
    Partitions,
    Settings,
    SettingsError,
    demands_function_keys,
    setting_name,
)

EXAMPLE = Path(__file__).parents[2] / "local.settings.example.json"
OF_THE_HOST = {"FUNCTIONS_WORKER_RUNTIME", "AzureWebJobsStorage", HOST_BODY_LIMIT}


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


DAYS = 86_400


@pytest.mark.parametrize(
    ("name", "inside", "outside", "mistake"),
    [
        ("SQL_POOL_SIZE", 3, 2, "must be at least 3"),
        ("SEARCH_TIMEOUT_SECONDS", 1, 0, "must be at least 1"),
        ("INBOX_UPLOAD_SECONDS", 1, 0, "must be at least 1"),
        ("INBOX_UPLOAD_SECONDS", 6 * DAYS, 6 * DAYS + 1, "must be at most 518400"),
        ("INBOX_RESULT_SECONDS", 36_500 * DAYS, 10**20, "must be at most 3153600000"),
        (HOST_BODY_LIMIT, 65_537, 65_536, "must be above 65536"),
        (HOST_BODY_LIMIT, 65_537, -1, "must be above 65536"),
    ],
)
def test_a_setting_is_taken_at_its_bounds_and_not_beyond_them(
    tmp_path: Path, name: str, inside: int, outside: int, mistake: str
) -> None:
    env = {"DATA_DIRECTORY": str(tmp_path)}
    assert Settings.from_env({**env, name: str(inside)}).store_max_request_bytes > 0
    with pytest.raises(SettingsError, match=f"{name} is wrong: {mistake}"):
        Settings.from_env({**env, name: str(outside)})


def test_the_example_names_every_setting_and_no_other() -> None:
    example = orjson.loads(EXAMPLE.read_bytes())["Values"]
    assert set(example) - OF_THE_HOST == {setting_name(setting) for setting in fields(Settings)}
    assert set(example) >= OF_THE_HOST


def test_the_example_is_valid_and_says_what_holds_without_it() -> None:
    example = orjson.loads(EXAMPLE.read_bytes())["Values"]
    settings = Settings.from_env(example)
    for setting in fields(Settings):
        if setting.name not in (
            "data_directory",
            "data_storage",  # func start has Azurite, for the host itself needs it
            "store_max_part_bytes",
            "store_max_request_bytes",
        ):
            assert getattr(settings, setting.name) == setting.default, setting.name


WRONG = {
    "SQL_POOL_SIZE": "0",
    "AUTHENTICATION": "basic",
    "ALLOW_UNAUTHENTICATED": "perhaps",
    "FUNCTION_KEYS": "some",
    "INBOX_SOURCE": "pigeon",
    "INBOX_UPLOAD_SECONDS": "-5",
    "INBOX_RESULT_SECONDS": "a week",
    "EMBEDDED_SYNC": "maybe",
    "DATA_PARTITIONS": "sometimes",
    "STORE_MAX_PART_BYTES": "-1",
    "STORE_MAX_REQUEST_BYTES": "4 GB",
    "STORE_MAX_PARTS": "0",
    "BULK_DATA_THRESHOLD_BYTES": "1.5",
    "SEARCH_MAX_LIMIT_V2": "many",
    "SEARCH_MAX_LIMIT_INSTANCES_V2": "0",
    "SEARCH_TIMEOUT_SECONDS": "never",
    "EMPTY_SEARCH_STATUS_V2": "404",
    "MAX_EXTENDED_QUERY_TAGS": "0",
    "EXPORT": "maybe",
    "EXPORT_ALLOWED_HOSTS": "*.net",
    "EXPORT_ALLOW_SAS": "maybe",
    "EXPORT_ALLOW_PUBLIC_ACCESS": "maybe",
    "FHIR_AUTHENTICATION": "basic",
    "FHIR_SYNC": "maybe",
    "FHIR_ISSUER_SYSTEMS": "hospital",
    "FHIR_SCHEME_SYSTEMS": "99ABC",
    "FHIR_TIME_ZONE": "Middle/Earth",
    "FHIR_PATIENTS": "all",
    "FHIR_PATIENT_CONFLICTS": "marry",
    "FHIR_DELETED_STUDIES": "burn",
    "FHIR_PRACTITIONERS": "all",
    "FHIR_ORDERS": "all",
    "FHIR_DOSE": "all",
    "FHIR_DEVICES": "maybe",
    "FHIR_MAX_INSTANCES": "0",
    "FHIR_MAX_CONDITIONAL_ENTRIES": "none",
    "FHIR_CONCURRENCY": "0",
    "DELETED_BLOB_GRACE_SECONDS": "-1",
    "SERIES_DOCUMENT_GRACE_SECONDS": "soon",
    "ORPHAN_AGE_SECONDS": "1d",
    "MAX_ORPHANS_PER_RUN": "0",
    "OPERATION_HISTORY_SECONDS": "a week",
    "TRUSTED_PROXIES": "10.0.0.0/8, proxy",
    HOST_BODY_LIMIT: "unlimited",
}


def test_a_mistake_in_any_setting_is_named_beside_all_others() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env(WRONG)

    mistakes = str(refused.value).split("; ")
    named = {mistake.split()[0] for mistake in mistakes}
    cannot_be_wrong = {
        "CORS_ALLOWED_ORIGINS",
        "ENTRA_AUDIENCE",
        "EXPORT_FOLDER",
        "FHIR_ALLOWED_HOSTS",
    } | {setting_name(setting) for setting in fields(Settings) if setting.type is str}
    assert named | cannot_be_wrong == {setting_name(setting) for setting in fields(Settings)} | {
        HOST_BODY_LIMIT
    }


@pytest.mark.parametrize(("text", "value"), [("on", True), ("TRUE", True), ("0", False)])
def test_a_switch_is_read_in_several_forms(tmp_path: Path, text: str, *, value: bool) -> None:
    settings = Settings.from_env({"DATA_DIRECTORY": str(tmp_path), "EMBEDDED_SYNC": text})
    assert settings.embedded_sync is value


def test_an_empty_setting_is_one_that_is_not_given(tmp_path: Path) -> None:
    settings = Settings.from_env({"DATA_DIRECTORY": str(tmp_path), "STORE_MAX_PARTS": " "})
    assert settings == Settings.from_env({"DATA_DIRECTORY": str(tmp_path)})


IDENTITY = {
    "DATA_STORAGE__blobServiceUri": "https://a.blob.core.windows.net",
    "DATA_STORAGE__tableServiceUri": "https://a.table.core.windows.net",
    "SQL_SERVER": "a.database.windows.net",
    "SQL_DATABASE": "dicom",
    "KEY_VAULT_URI": "https://a.vault.azure.net",
}


def test_nothing_embedded_needs_no_folder() -> None:
    settings = Settings.from_env(IDENTITY)
    assert settings.has_storage_account
    assert settings.has_sql_server


@pytest.mark.parametrize("name", ["KEY_VAULT_URI", "SQL_SERVER", "DATA_STORAGE__blobServiceUri"])
def test_anything_embedded_needs_a_folder(name: str) -> None:
    with pytest.raises(SettingsError, match="DATA_DIRECTORY is missing"):
        Settings.from_env({**IDENTITY, name: ""})


@pytest.mark.parametrize("name", ["SQL_DATABASE", "DATA_STORAGE__tableServiceUri"])
def test_half_an_address_is_a_mistake(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: set both"):
        Settings.from_env({**IDENTITY, name: ""})


@pytest.mark.parametrize("folder", ["data", "data/out", "data/../data/out", ".", "link/out"])
def test_exports_do_not_go_among_the_data_nor_lie_around_them(tmp_path: Path, folder: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    env = {"DATA_DIRECTORY": str(tmp_path / "data")}
    with pytest.raises(SettingsError, match="EXPORT_FOLDER is wrong"):
        Settings.from_env({**env, "EXPORT_FOLDER": str(tmp_path / folder)})
    Settings.from_env({**env, "EXPORT_FOLDER": str(tmp_path / "data2")})


def test_no_secret_is_printed_with_the_settings(tmp_path: Path) -> None:
    env = {"DATA_DIRECTORY": str(tmp_path), "DATA_STORAGE": "AccountKey=hidden"}
    env |= {"SQL_CONNECTION_STRING": "Pwd=hidden"}
    env |= {"APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=hidden"}
    assert "hidden" not in repr(Settings.from_env(env))


ENTRA = {
    "AUTHENTICATION": "entra",
    "ENTRA_TENANT_ID": "11111111-2222-3333-4444-555555555555",
    "ENTRA_AUDIENCE": "api://dicom, 66666666-7777-8888-9999-000000000000",
}


def test_authentication_is_off_unless_asked_for(tmp_path: Path) -> None:
    env = {"DATA_DIRECTORY": str(tmp_path)}
    assert Settings.from_env(env).authentication is Authentication.NONE
    assert Settings.from_env({**env, **ENTRA}).authentication is Authentication.ENTRA


@pytest.mark.parametrize(
    ("name", "value", "mistake"),
    [
        ("ENTRA_TENANT_ID", "", "ENTRA_TENANT_ID is missing"),
        ("ENTRA_TENANT_ID", "common", "ENTRA_TENANT_ID is wrong"),
        ("ENTRA_TENANT_ID", "example.org", "ENTRA_TENANT_ID is wrong"),
        ("ENTRA_AUDIENCE", " , ", "ENTRA_AUDIENCE is missing"),
        ("ENTRA_AUTHORITY", "http://login.example.org", "ENTRA_AUTHORITY is wrong"),
        ("ENTRA_AUTHORITY", "login.example.org", "ENTRA_AUTHORITY is wrong"),
        ("ENTRA_AUTHORITY", "file:///etc", "ENTRA_AUTHORITY is wrong"),
    ],
)
def test_whose_tokens_are_taken_must_be_said_exactly(
    tmp_path: Path, name: str, value: str, mistake: str
) -> None:
    with pytest.raises(SettingsError, match=mistake):
        Settings.from_env({"DATA_DIRECTORY": str(tmp_path), **ENTRA, name: value})


def test_an_issuer_on_this_machine_needs_no_certificate(tmp_path: Path) -> None:
    env = {"DATA_DIRECTORY": str(tmp_path), **ENTRA, "ENTRA_AUTHORITY": "http://127.0.0.1:8080/"}
    settings = Settings.from_env(env)
    assert settings.entra_issuer == f"http://127.0.0.1:8080/{ENTRA['ENTRA_TENANT_ID']}/v2.0"


@pytest.mark.parametrize(
    "host", ["localhost:7071", "127.0.0.1:80", "127.8.8.8", "[::1]:7071", "LOCALHOST"]
)
def test_this_machine_may_serve_without_authentication(tmp_path: Path, host: str) -> None:
    Settings.from_env({"DATA_DIRECTORY": str(tmp_path), HOST_NAME: host})


BEYOND = ["0.0.0.0:7071", "[::]:7071", "192.168.1.4", "pacs", "localhost.example.org", "::1", "["]


@pytest.mark.parametrize("host", BEYOND)
def test_beyond_this_machine_nothing_is_served_without_authentication(
    tmp_path: Path, host: str
) -> None:
    env = {"DATA_DIRECTORY": str(tmp_path), HOST_NAME: host}
    with pytest.raises(SettingsError, match="AUTHENTICATION is none, which is refused where"):
        Settings.from_env(env)
    Settings.from_env({**env, "ALLOW_UNAUTHENTICATED": "on"})
    Settings.from_env({**env, **ENTRA})


@pytest.mark.parametrize("name", ["WEBSITE_INSTANCE_ID", "WEBSITE_SITE_NAME"])
def test_azure_never_serves_without_authentication(tmp_path: Path, name: str) -> None:
    env = {"DATA_DIRECTORY": str(tmp_path), name: "x", HOST_NAME: "localhost"}
    with pytest.raises(SettingsError, match="refused on Azure"):
        Settings.from_env({**env, "ALLOW_UNAUTHENTICATED": "on"})
    Settings.from_env({**env, **ENTRA})


def test_function_keys_are_demanded_where_they_are_on() -> None:
    assert not demands_function_keys({})
    assert demands_function_keys({"FUNCTION_KEYS": "on"})
    with pytest.raises(SettingsError, match="FUNCTION_KEYS is wrong"):
        demands_function_keys({"FUNCTION_KEYS": "some"})
