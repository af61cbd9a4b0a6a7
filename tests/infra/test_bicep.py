import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shared import wiring
from tests.infra import bicep
from tests.infra.bicep import INFRA, Choice, Declaration, Value
from tests.infra.record_azure_api import ANY_NAME, FACTS

MAIN = INFRA / "main.bicep"
API: Mapping[str, Any] = json.loads(FACTS.read_text())
LANGUAGE = {"dependsOn", "parent", "scope", "name"}
"""What Bicep itself takes, of any resource."""

every_file = pytest.mark.parametrize("file", bicep.FILES, ids=lambda file: file.name)


@every_file
def test_the_grammar_is_followed(file: Path) -> None:
    assert bicep.mistakes(bicep.parse(file.read_bytes())) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (b"param name string", b"param name"),
        (b"var a = [ 1 ]", b"var a = [ 1"),
        (b"resource a 'X/y@1' = {\n  name: b\n}", b"resource a 'X/y@1' = {\n  name b\n}"),
        (b"module a 'b.bicep' = {\n  name: c\n}", b"module a 'b.bicep' {\n  name: c\n}"),
    ],
)
def test_the_parser_finds_what_is_wrong(right: bytes, wrong: bytes) -> None:
    assert bicep.mistakes(bicep.parse(right + b"\n")) == []
    assert bicep.mistakes(bicep.parse(wrong + b"\n")) != []


FUNCTIONS = {
    *(
        "cidrSubnet",
        "contains",
        "empty",
        "environment",
        "guid",
        "items",
        "replace",
        "resourceGroup",
    ),
    *("resourceId", "string", "subscription", "subscriptionResourceId", "union", "uniqueString"),
    "uri",
}
"""What the files use of Bicep's own functions."""


@every_file
def test_every_name_is_declared(file: Path) -> None:
    assert set(bicep.unresolved(bicep.parse(file.read_bytes()))) <= FUNCTIONS


def test_a_name_that_nothing_declares_is_found() -> None:
    text = b"param a string\nvar b = [for c in d: { a: c, e: f.g }]\noutput h string = '${a}${i}'\n"
    assert bicep.unresolved(bicep.parse(text)) == ["d", "f", "i"]


def unknown(known: Any, value: Value, path: str) -> list[str]:
    """What of a value Azure's API does not know."""
    match value:
        case list():
            return [found for item in value for found in unknown(known, item, path)]
        case Choice(values):
            return unknown(known, list(values), path)
        case str() if isinstance(known, list):
            return [] if value in known else [f"{path}: {value}"]
        case _ if isinstance(value, Mapping) and isinstance(known, Mapping):
            any_name = known.get(ANY_NAME)
            found = []
            for name, item in value.items():
                if name not in known and any_name is None:
                    found.append(f"{path}.{name}")
                found += unknown(known.get(name, any_name), item, f"{path}.{name}")
            return found
        case _:
            return []


def mistakes_of(resource: Declaration) -> list[str]:
    known = API.get(resource.target)
    if known is None:
        return [f"{resource.target} is not known"]
    return unknown({**dict.fromkeys(LANGUAGE, True), **known}, resource.value or "", resource.name)


@every_file
def test_resources_say_only_what_the_api_knows(file: Path) -> None:
    resources = [found for found in bicep.declarations(file) if found.kind == "resource"]
    assert [mistake for found in resources for mistake in mistakes_of(found)] == []


@pytest.mark.parametrize(
    ("right", "wrong", "mistake"),
    [
        ("allowSharedKeyAccess", "allowSharedKeys", "account.properties.allowSharedKeys"),
        ("'TLS1_2'", "'TLS1.2'", "account.properties.minimumTlsVersion: TLS1.2"),
        ("'Deny' : 'Allow'", "'Denied' : 'Allow'", "account.properties.networkAcls.def"),
        ("storageAccounts@2025", "storageAccount@2025", "storageAccount@2025-06-01 is not known"),
        ("daysAfterCreationGreaterThan", "days", "baseBlob.delete.days"),
    ],
)
def test_what_the_api_does_not_know_is_found(
    tmp_path: Path, right: str, wrong: str, mistake: str
) -> None:
    text = (INFRA / "modules" / "storage.bicep").read_text()
    assert right in text
    file = tmp_path / "storage.bicep"
    file.write_text(text.replace(right, wrong))
    resources = [found for found in bicep.declarations(file) if found.kind == "resource"]
    assert any(mistake in found for item in resources for found in mistakes_of(item))


@every_file
def test_parameters_outputs_and_types_are_described(file: Path) -> None:
    described = ("parameter", "output", "type")
    found = [item for item in bicep.declarations(file) if item.kind in described]
    assert [item.name for item in found if "description" not in item.decorators] == []
    for item in (item for item in found if item.kind == "type" and isinstance(item.value, Mapping)):
        text = file.read_text().partition(f"type {item.name} = {{")[2].partition("\n}")[0]
        properties = len(re.findall(r"^\s+[\w*]+: ", text, re.MULTILINE))
        assert text.count("@description(") == properties, item.name


@every_file
def test_every_parameter_and_variable_is_used(file: Path) -> None:
    text = re.sub(r"@description\(.*\)", "", file.read_text())
    names = [d.name for d in bicep.declarations(file) if d.kind in {"parameter", "variable"}]
    assert [name for name in names if len(re.findall(rf"\b{name}\b", text)) < 2] == []


@pytest.mark.parametrize("file", [f for f in bicep.FILES if f != MAIN], ids=lambda file: file.name)
def test_a_module_is_read_on_a_few_screens(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 150


MODULES = [found for found in bicep.declarations(MAIN) if found.kind == "module"]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_a_module_is_given_the_parameters_that_it_takes(module: Declaration) -> None:
    taken = bicep.parameters(MAIN.parent / module.target)
    assert isinstance(module.value, Mapping)
    given = module.value["params"]
    assert isinstance(given, Mapping)
    needed = {
        name
        for name, parameter in taken.items()
        if parameter.value is None and not parameter.type.endswith("?")
    }
    assert needed <= set(given) <= set(taken)


def test_outputs_are_of_modules_that_have_them() -> None:
    outputs = {
        module.name: {
            found.name
            for found in bicep.declarations(MAIN.parent / module.target)
            if found.kind == "output"
        }
        for module in MODULES
    }
    used = re.findall(r"(\w+)!?\.outputs\.(\w+)", MAIN.read_text())
    assert len(used) > 20
    assert [(module, name) for module, name in used if name not in outputs[module]] == []


def test_nothing_but_modules_and_their_group_is_made_in_main() -> None:
    made = [found.target for found in bicep.declarations(MAIN) if found.kind == "resource"]
    assert [target.partition("@")[0] for target in made] == ["Microsoft.Resources/resourceGroups"]


def test_the_parameters_file_gives_what_is_required() -> None:
    given = set(json.loads((INFRA / "main.parameters.json").read_text())["parameters"])
    required = {
        name
        for name, parameter in bicep.parameters(MAIN).items()
        if parameter.decorators["description"].startswith("'Required.")
    }
    assert given == required
    no_default = {
        name
        for name, parameter in bicep.parameters(MAIN).items()
        if parameter.value is None and not parameter.type.endswith("?")
    }
    assert no_default <= given


def properties_of(module: str, symbol: str) -> Mapping[str, Value]:
    declared = bicep.declarations(INFRA / "modules" / f"{module}.bicep")
    value = next(d.value for d in declared if d.kind == "resource" and d.name == symbol)
    assert isinstance(value, Mapping)
    properties = value["properties"]
    assert isinstance(properties, Mapping)
    return properties


def test_no_key_opens_anything() -> None:
    account = properties_of("storage", "account")
    assert account["allowSharedKeyAccess"] is False
    assert account["allowBlobPublicAccess"] is False
    assert account["minimumTlsVersion"] == "TLS1_2"
    administrators = properties_of("sql", "server")["administrators"]
    assert isinstance(administrators, Mapping)
    assert administrators["azureADOnlyAuthentication"] is True
    vault = properties_of("key_vault", "vault")
    assert vault["enableRbacAuthorization"] is vault["enablePurgeProtection"] is True
    assert properties_of("monitoring", "component")["DisableLocalAuth"] is True
    assert properties_of("function_app", "app")["httpsOnly"] is True
    text = "".join(file.read_text() for file in bicep.FILES)
    assert re.findall(r"listKeys|@secure|[Pp]assword: ", text) == []


def test_the_containers_are_those_that_the_app_opens() -> None:
    [data] = [module for module in MODULES if module.name == "dataStorage"]
    assert isinstance(data.value, Mapping)
    parameters = data.value["params"]
    assert isinstance(parameters, Mapping)
    opened = ["dicom", wiring.INBOX, wiring.INBOX_FAILED]
    assert parameters["containerNames"] == opened


LOGGED = {
    "Microsoft.EventGrid/systemTopics",
    "Microsoft.HealthcareApis/workspaces/fhirservices",
    "Microsoft.KeyVault/vaults",
    "Microsoft.Sql/servers/databases",
    "Microsoft.Storage/storageAccounts/blobServices",
    "Microsoft.Web/sites",
}


def test_services_send_their_logs_to_the_workspace() -> None:
    logged = set()
    for file in bicep.FILES:
        resources = {d.name: d for d in bicep.declarations(file) if d.kind == "resource"}
        for found in resources.values():
            if found.target.startswith("Microsoft.Insights/diagnosticSettings@"):
                assert isinstance(found.value, Mapping)
                scope = found.value["scope"]
                assert isinstance(scope, bicep.Expression)
                logged.add(resources[scope.text].target.partition("@")[0])
    assert logged == LOGGED
