"""The settings that the deployment makes are those that the app and the host read."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields

import pytest
from azure.identity import ManagedIdentityCredential
from azure.monitor.opentelemetry.exporter.export._base import _get_authentication_credential

from shared.settings import HOST_BODY_LIMIT, Settings, setting_name
from tests.infra import bicep
from tests.infra.bicep import INFRA, Expression

HOST_ONLY = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "the host and the exporter prove who they are",
    "AzureWebJobsStorage__blobServiceUri": "the host's own account",
    "AzureWebJobsStorage__clientId": "the host's own account",
    "AzureWebJobsStorage__credential": "the host's own account",
    "AzureWebJobsStorage__queueServiceUri": "the host's own account",
    "AzureWebJobsStorage__tableServiceUri": "the host's own account",
    "DATA_STORAGE__clientId": "the connection of the blob trigger",
    "DATA_STORAGE__credential": "the connection of the blob trigger",
    "DATA_STORAGE__queueServiceUri": "the connection of the blob trigger",
    "PYTHON_ENABLE_INIT_INDEXING": "how the worker starts",
    HOST_BODY_LIMIT: "the host's limit, which ours are derived from",
}
"""Settings that are no fields of Settings, and who reads them."""

UNSET = {
    "CORS_ALLOWED_ORIGINS": "no web page may read answers until one is named",
    "DATA_DIRECTORY": "nothing is embedded on Azure",
    "DATA_STORAGE": "a connection string would hold a key",
    "EXPORT_ALLOWED_HOSTS": "exports go to the data's own account until another is named",
    "EXPORT_FOLDER": "nothing is embedded on Azure",
    "FHIR_ACCESSION_SYSTEM": "said by those whose orders have one",
    "FHIR_ALLOWED_HOSTS": "the FHIR server's own host",
    "FHIR_AUDIENCE": "the address of the FHIR server",
    "FHIR_CLIENT_ID": "the identity is used instead",
    "FHIR_DICOMWEB_URL": "said with the FHIR server",
    "FHIR_ISSUER_SYSTEMS": "said by those who have several",
    "FHIR_ISSUER_TEMPLATE": "said by those who have several",
    "FHIR_PATIENT_SYSTEM": "said with the FHIR server",
    "FHIR_SCHEME_SYSTEMS": "said by those who have private schemes",
    "FHIR_STUDY_ID_SYSTEM": "study IDs are not told until it is named",
    "FHIR_TENANT_ID": "the identity is used instead",
    "FHIR_TIME_ZONE": "said by those whose images do not tell it",
    "FHIR_URL": "none is told anything until one is named",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "telemetry goes to Application Insights",
    "SQL_CONNECTION_STRING": "the identity is used instead",
    "TRUSTED_PROXIES": "the host's own front end is the only proxy until one is named",
}
"""Settings without a value of their own that the deployment does not give one, and why."""

REFUSED = {
    "AZUREWEBJOBSDASHBOARD",
    "ENABLE_ORYX_BUILD",
    "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_MAX_HTTP_CONCURRENCY",
    "FUNCTIONS_WORKER_DYNAMIC_CONCURRENCY_ENABLED",
    "FUNCTIONS_WORKER_PROCESS_COUNT",
    "FUNCTIONS_WORKER_RUNTIME",
    "FUNCTIONS_WORKER_RUNTIME_VERSION",
    "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING",
    "WEBSITE_CONTENTOVERVNET",
    "WEBSITE_CONTENTSHARE",
    "WEBSITE_DNS_SERVER",
    "WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT",
    "WEBSITE_MOUNT_ENABLED",
    "WEBSITE_NODE_DEFAULT_VERSION",
    "WEBSITE_RUN_FROM_PACKAGE",
    "WEBSITE_SKIP_CONTENTSHARE_VALIDATION",
    "WEBSITE_VNET_ROUTE_ALL",
}
"""What Flex Consumption does not take, as Azure CLI leaves it behind when an app moves there."""

KNOWN = {setting_name(field): field for field in fields(Settings)}


def deployed() -> Mapping[str, bicep.Value]:
    declared = bicep.declarations(INFRA / "modules" / "app_settings.bicep")
    value = next(d.value for d in declared if d.kind == "resource" and d.name == "settings")
    assert isinstance(value, Mapping)
    properties = value["properties"]
    assert isinstance(properties, Mapping)
    return properties


def test_every_setting_of_the_deployment_is_read_by_somebody() -> None:
    assert set(deployed()) - set(KNOWN) == set(HOST_ONLY)


def test_every_setting_has_a_value_of_its_own_or_one_of_the_deployment() -> None:
    # What is empty by default names a service, or somebody to be trusted.
    empty = {
        name
        for name, field in KNOWN.items()
        if field.default is not MISSING and field.default in {None, "", ()}
    }
    assert empty - set(deployed()) == set(UNSET)


def test_flex_consumption_takes_all_of_them() -> None:
    assert {name.upper() for name in deployed()}.isdisjoint(REFUSED)


def test_settings_on_this_machine_are_the_same_but_for_the_host() -> None:
    example = json.loads((INFRA.parent / "local.settings.example.json").read_text())["Values"]
    local_only = set(example) - set(KNOWN) - set(HOST_ONLY)
    assert local_only == {"AzureWebJobsStorage", "FUNCTIONS_WORKER_RUNTIME"}


def test_telemetry_is_sent_by_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"
    value = deployed()[name]
    assert isinstance(value, Expression)
    monkeypatch.setenv(name, value.text.strip("'").replace("${identityClientId}", "the-client"))
    found = _get_authentication_credential()
    assert isinstance(found, ManagedIdentityCredential)
    assert "the-client" in repr(vars(found._credential))


def test_what_is_deployed_is_safe_and_complete() -> None:
    # Values that are known only on Azure stand for themselves; so do numbers, but as numbers.
    numbers = {HOST_BODY_LIMIT: "220200960", "SQL_POOL_SIZE": "6"}
    guid = "4d6d1d2f-1111-4222-8333-444455556666"
    known = {"ENTRA_TENANT_ID": guid, "ENTRA_AUTHORITY": "https://login.microsoftonline.com/"}
    environment = {
        name: numbers.get(name, known.get(name, value.text))
        if isinstance(value, Expression)
        else str(value)
        for name, value in deployed().items()
    }
    settings = Settings.from_env({**environment, "WEBSITE_SITE_NAME": "func"})
    assert settings.has_storage_account
    assert settings.has_sql_server
    assert settings.entra_issuer == f"https://login.microsoftonline.com/{guid}/v2.0"
