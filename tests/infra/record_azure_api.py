"""Command: note what Azure's API knows of the properties that the Bicep files use.

The source are the models of Microsoft's management libraries, of which each speaks one version of
an API. Install those of SOURCES somewhere, and run `python -m tests.infra.record_azure_api` there.
"""

import enum
import importlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.infra import bicep

FACTS = Path(__file__).parent / "azure_api.json"

SOURCES = {
    "Microsoft.Authorization/roleAssignments@2022-04-01": (
        "azure-mgmt-authorization==4.0.0",
        "authorization.v2022_04_01:RoleAssignmentCreateParameters",
    ),
    "Microsoft.EventGrid/systemTopics@2025-02-15": (
        "azure-mgmt-eventgrid==10.4.0",
        "eventgrid:SystemTopic",
    ),
    "Microsoft.HealthcareApis/workspaces@2024-03-31": (
        "azure-mgmt-healthcareapis==2.1.0",
        "healthcareapis:Workspace",
    ),
    "Microsoft.HealthcareApis/workspaces/fhirservices@2024-03-31": (
        "azure-mgmt-healthcareapis==2.1.0",
        "healthcareapis:FhirService",
    ),
    "Microsoft.Insights/components@2020-02-02": (
        "azure-mgmt-applicationinsights==4.1.0",
        "applicationinsights.v2020_02_02:ApplicationInsightsComponent",
    ),
    "Microsoft.Insights/diagnosticSettings@2021-05-01-preview": (
        "azure-mgmt-monitor==6.0.2",
        "monitor.v2021_05_01_preview:DiagnosticSettingsResource",
    ),
    "Microsoft.KeyVault/vaults@2025-05-01": (
        "azure-mgmt-keyvault==13.0.0",
        "keyvault:VaultCreateOrUpdateParameters",
    ),
    "Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30": (
        "azure-mgmt-msi==7.1.0",
        "msi.v2024_11_30:Identity",
    ),
    "Microsoft.Network/privateDnsZones@2024-06-01": (
        "azure-mgmt-privatedns==2.0.0",
        "privatedns:PrivateZone",
    ),
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01": (
        "azure-mgmt-privatedns==2.0.0",
        "privatedns:VirtualNetworkLink",
    ),
    "Microsoft.Network/privateEndpoints@2024-07-01": (
        "azure-mgmt-network==29.0.0",
        "network:PrivateEndpoint",
    ),
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-07-01": (
        "azure-mgmt-network==29.0.0",
        "network:PrivateDnsZoneGroup",
    ),
    "Microsoft.Network/virtualNetworks@2024-07-01": (
        "azure-mgmt-network==29.0.0",
        "network:VirtualNetwork",
    ),
    "Microsoft.OperationalInsights/workspaces@2025-07-01": (
        "azure-mgmt-loganalytics==14.0.0",
        "loganalytics:Workspace",
    ),
    # Groups have had the same properties in every version of their API.
    "Microsoft.Resources/resourceGroups@2024-03-01": (
        "azure-mgmt-resource",
        "resource.resources:ResourceGroup",
    ),
    # No library speaks 2023-08-01: this one speaks 2025-01-01, and what is used of it was compared
    # by hand with the types that Bicep has for 2023-08-01.
    "Microsoft.Sql/servers@2023-08-01": ("azure-mgmt-sql==4.0.0", "sql:Server"),
    "Microsoft.Sql/servers/databases@2023-08-01": ("azure-mgmt-sql==4.0.0", "sql:Database"),
    "Microsoft.Sql/servers/databases/auditingSettings@2023-08-01": (
        "azure-mgmt-sql==4.0.0",
        "sql:DatabaseBlobAuditingPolicy",
    ),
    "Microsoft.Sql/servers/firewallRules@2023-08-01": (
        "azure-mgmt-sql==4.0.0",
        "sql:FirewallRule",
    ),
    "Microsoft.Storage/storageAccounts@2025-06-01": (
        "azure-mgmt-storage==24.0.1",
        "storage:StorageAccountCreateParameters",
    ),
    "Microsoft.Storage/storageAccounts/blobServices@2025-06-01": (
        "azure-mgmt-storage==24.0.1",
        "storage:BlobServiceProperties",
    ),
    "Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01": (
        "azure-mgmt-storage==24.0.1",
        "storage:BlobContainer",
    ),
    "Microsoft.Storage/storageAccounts/managementPolicies@2025-06-01": (
        "azure-mgmt-storage==24.0.1",
        "storage:ManagementPolicy",
    ),
    "Microsoft.Storage/storageAccounts/queueServices@2025-06-01": (
        "azure-mgmt-storage==24.0.1",
        "storage:QueueServiceProperties",
    ),
    "Microsoft.Storage/storageAccounts/tableServices@2025-06-01": (
        "azure-mgmt-storage==24.0.1",
        "storage:TableServiceProperties",
    ),
    "Microsoft.Web/serverfarms@2024-11-01": ("azure-mgmt-web==10.0.0", "web:AppServicePlan"),
    "Microsoft.Web/sites@2024-11-01": ("azure-mgmt-web==10.0.0", "web:Site"),
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01": (
        "azure-mgmt-web==10.0.0",
        "web:CsmPublishingCredentialsPoliciesEntity",
    ),
    "Microsoft.Web/sites/config@2024-11-01": ("azure-mgmt-web==10.0.0", "web:StringDictionary"),
}
"""Of each resource type and version: the library, and the model of a request to create one."""

ANY_NAME = "*"


def main() -> None:
    """Write the facts of all resources that the Bicep files declare."""
    facts: dict[str, Any] = {}
    for found in (d for file in bicep.FILES for d in bicep.declarations(file)):
        if found.kind == "resource" and found.value is not None:
            _, _, path = SOURCES[found.target][1].partition(":")
            module = f"azure.mgmt.{SOURCES[found.target][1].partition(':')[0]}.models"
            models = importlib.import_module(module)
            used = _used(_properties(getattr(models, path), models), found.value)
            facts[found.target] = _merged(facts.get(found.target, {}), used)
    lines = [f"  {json.dumps(name)}: {json.dumps(facts[name])}" for name in sorted(facts)]
    FACTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _properties(model: type, models: ModuleType, within: tuple[type, ...] = ()) -> Any:
    """Names to what they hold: more names, a list of the values of an enumeration, or true."""
    if model in within:
        return True
    found: dict[str, Any] = {}
    for path, annotation, is_dictionary in _fields(model):
        held: Any = True
        for name in re.findall(r"_models\.(\w+)", annotation):
            other = getattr(models, name)
            is_enum = issubclass(other, enum.Enum)
            held = (
                [item.value for item in other]
                if is_enum
                else (_properties(other, models, (*within, model)))
            )
        *parents, last = path
        inner = found
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = {ANY_NAME: held} if is_dictionary else held
    return found


def _fields(model: type) -> Iterator[tuple[list[str], str, bool]]:
    """Path in the request, annotation, and whether names are free, of each field of a model."""
    flat: Mapping[str, Mapping[str, str]] | None = getattr(model, "_attribute_map", None)
    if flat is None:
        for kind in model.__mro__:
            for name, annotation in vars(kind).get("__annotations__", {}).items():
                field: Any = vars(kind).get(name)
                if hasattr(field, "_rest_name_input"):
                    text = str(annotation)
                    yield [field._rest_name_input or name], text, "ict[" in text
        return
    annotations = {
        name: str(parameter.annotation)
        for kind in model.__mro__
        if "__init__" in vars(kind)
        for name, parameter in inspect.signature(kind).parameters.items()
    }
    for name, field in flat.items():
        path = [part.replace("\0", ".") for part in field["key"].replace("\\.", "\0").split(".")]
        # What cannot be sent has no parameter, and no annotation.
        yield path, annotations.get(name, ""), field["type"].startswith("{")


def _used(known: Any, value: bicep.Value) -> Any:
    """All names of the objects that a value has, and nothing below the names it does not use."""
    match value:
        case list():
            used: Any = True
            for item in value:
                used = _merged(used, _used(known, item))
            return used
        case bicep.Choice(values):
            return _used(known, list(values))
        case _ if isinstance(value, Mapping) and isinstance(known, dict):
            return {
                name: _used(held, value[name])
                if name in value
                else _used(held, next(iter(value.values()), ""))
                if name == ANY_NAME
                else True
                for name, held in known.items()
            }
        case _:
            return known if isinstance(known, list) else True


def _merged(first: Any, second: Any) -> Any:
    if isinstance(first, dict) and isinstance(second, dict):
        return {
            name: _merged(first.get(name, True), second.get(name, True))
            for name in [*first, *(name for name in second if name not in first)]
        }
    return second if first is True else first


if __name__ == "__main__":
    main()
