import os
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from function_app import app
from functions.endpoint import DATA_ACTIONS, VERSIONS
from shared.access import DataAction
from tests.archive import Client, http_functions, open_archive, router
from tests.issuer import running_issuer

CONFORMANCE = Path(__file__).parents[2] / "docs" / "conformance.md"
VALUES = {"study": "1.2.3", "series": "1.2.3.4", "instance": "1.2.3.4.5", "frames": "1,2"}
VALUES["tag"] = "PatientSex"
VALUES["operation"] = VALUES["upload"] = VALUES["letter"] = "1" * 32
PARTITIONS = ("p", "studies", "Microsoft.Default")


def concrete_paths(template: str) -> list[str]:
    paths = []
    for version in VERSIONS if "{version}" in template else ("",):
        for partition in PARTITIONS if "{partition}" in template else ("",):
            values = {**VALUES, "version": version, "partition": partition}
            paths.append("/" + re.sub(r"\{(\w+)\}", lambda name: values[name[1]], template))  # noqa: B023
    return paths


REGISTERED = [
    (name, method, path)
    for name, (route, _) in http_functions().items()
    for method in sorted(route.methods)
    for path in concrete_paths(route.template)
]


@pytest.mark.parametrize(("name", "method", "path"), REGISTERED)
def test_every_path_reaches_its_own_function(name: str, method: str, path: str) -> None:
    found = router().find(method, path)
    assert found is not None
    assert found.function == name


def overlap(first: str, second: str) -> bool:
    """Whether some path fits both templates."""
    pairs = zip(first.split("/"), second.split("/"), strict=False)
    return first.count("/") == second.count("/") and all(
        "{" in a or "{" in b or a.lower() == b.lower() for a, b in pairs
    )


def literals(template: str) -> int:
    return sum("{" not in segment for segment in template.split("/"))


def test_where_two_routes_overlap_the_more_specific_one_is_tried_first() -> None:
    routes = sorted((route for route, _ in http_functions().values()), key=lambda r: r.function)
    wrong = [
        (first.function, second.function)
        for first, second in combinations(routes, 2)
        if first.methods & second.methods
        and overlap(first.template, second.template)
        and literals(first.template) <= literals(second.template)
    ]
    assert wrong == []


def test_every_http_function_demands_a_data_action() -> None:
    assert DATA_ACTIONS.keys() == http_functions().keys()


EACH_ONCE = {(name, method): (name, method, path) for name, method, path in REGISTERED}.values()
ANONYMOUS = {"describe_as_json", "describe_as_yaml", "health", "options"}


async def test_every_route_and_method_is_guarded_but_those_for_everybody(tmp_path: Path) -> None:
    with running_issuer() as issuer:
        async with open_archive(tmp_path, **issuer.settings):
            client, wrong = Client(), []
            headers = {"Authorization": f"Bearer {issuer.token(roles=None)}"}
            for name, method, path in EACH_ONCE:
                address = path.replace("{*path}", "x").replace("{*reference}", "x")
                answers = [(await client.send(method, address)).status_code]
                if name not in ANONYMOUS:
                    powerless = await client.send(method, address, headers=headers)
                    answers.append(powerless.status_code)
                refusals = [status for status in answers if status in (401, 403, 503)]
                if refusals != ([] if name in ANONYMOUS else [401, 403]):
                    wrong.append((name, method, path, answers))
    assert wrong == []
    assert {name for name, action in DATA_ACTIONS.items() if action is DataAction.ANONYMOUS} == (
        ANONYMOUS
    )


def test_a_key_of_the_host_is_demanded_where_a_token_is() -> None:
    code = (
        "from function_app import app\n"
        "for f in app.get_functions():\n"
        "    level = getattr(f.get_trigger(), 'auth_level', None)\n"
        "    if level is not None: print(f.get_function_name(), level.name)\n"
    )
    env = {**os.environ, "FUNCTION_KEYS": "on"}
    run = [sys.executable, "-c", code]
    text = subprocess.check_output(run, cwd=CONFORMANCE.parents[1], env=env, text=True)
    assert dict(line.split() for line in text.splitlines()) == {
        name: "ANONYMOUS" if name in ANONYMOUS else "FUNCTION" for name in http_functions()
    }


def test_no_key_of_the_host_is_demanded_unless_it_is_asked_for() -> None:
    assert app.auth_level.name == "ANONYMOUS"


def test_get_also_answers_head() -> None:
    for route, _ in http_functions().values():
        assert ("GET" in route.methods) == ("HEAD" in route.methods), route.function


OF_NO_PARTITION = {
    "describe_as_json",
    "describe_as_yaml",
    "latest_change",
    "list_changes",
    "list_partitions",
    "operation",
    "list_operations",
    "cancel_operation",
    "add_extended_query_tags",
    "list_extended_query_tags",
    "retrieve_extended_query_tag",
    "update_extended_query_tag",
    "delete_extended_query_tag",
    "list_extended_query_tag_errors",
    "fhir_status",
    "list_fhir_dead_letters",
    "replay_fhir_dead_letter",
    "ignore_fhir_dead_letter",
    "options",
}


def test_every_other_versioned_route_also_lies_below_a_partition() -> None:
    routes = {name: route for name, (route, _) in http_functions().items()}
    for name, route in routes.items():
        if (
            name not in OF_NO_PARTITION
            and route.template.startswith("{version}/")
            and not name.endswith("_in_partition")
        ):
            other = routes[f"{name}_in_partition"]
            assert other.template == route.template.replace(
                "{version}/", "{version}/partitions/{partition}/", 1
            )
            assert other.methods == route.methods


def test_the_conformance_statement_lists_the_registered_routes() -> None:
    rows = re.findall(
        r"^\| ([A-Z]+) \| `([^`]+)` \| `(\w+)` \| (\w+) \|$", CONFORMANCE.read_text(), re.MULTILINE
    )
    registered = [
        (method, "/" + route.template.removeprefix("{version}/"), name, DATA_ACTIONS[name].value)
        for name, (route, _) in http_functions().items()
        if route.template.startswith("{version}/") and not name.endswith("_in_partition")
        for method in route.methods - {"HEAD"}
    ]
    assert sorted(rows) == sorted(registered)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/studies"),
        ("GET", "/v2"),
        ("GET", "/v2/nothing"),
        ("PUT", "/v2/studies/1.2/series"),
        ("GET", "/v2/studies/1.2/instances/1.2.3"),
        ("GET", "/v2/partitions/studies"),
        ("POST", "/v2/series"),
    ],
)
def test_what_no_function_serves_reaches_none(method: str, path: str) -> None:
    assert router().find(method, path) is None
