"""What the guide and azd's file say is what there is."""

import re
from pathlib import Path

import yaml

from infra.package import DISTRIBUTION, ROOT
from shared.access import ALL_ACTIONS, ROLES
from tests.infra import bicep
from tests.infra.bicep import INFRA

GUIDE = (ROOT / "docs" / "deploy.md").read_text()
AZD = yaml.safe_load((ROOT / "azure.yaml").read_text())


def table(heading: str) -> list[list[str]]:
    """The rows of the table that has a heading in its first column."""
    rows = GUIDE.partition(f"| {heading} |")[2].splitlines()[2:]
    end = next(number for number, row in enumerate(rows) if not row.startswith("|"))
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[:end]]


def test_the_guide_names_every_parameter() -> None:
    named = [name for row in table("Parameter") for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(bicep.parameters(INFRA / "main.bicep"))


def test_the_guide_says_the_defaults() -> None:
    defaults = {
        name: parameter.value for name, parameter in bicep.parameters(INFRA / "main.bicep").items()
    }
    for names, default, *_ in table("Parameter"):
        [name, *more] = re.findall(r"`(\w+)`", names)
        value = defaults[name]
        if not more and isinstance(value, int | str) and not isinstance(value, bool):
            assert str(value) in default, name


def test_the_guide_says_what_each_role_permits() -> None:
    permitted = {row[0].strip("`"): row[1] for row in table("App role, and delegated scope")}
    assert permitted == {
        role: "everything"
        if actions == ALL_ACTIONS
        else ", ".join(sorted(action.value for action in actions))
        for role, actions in ROLES.items()
    }


def test_the_guide_multiplies_right() -> None:
    parameters = bicep.parameters(INFRA / "main.bicep")
    scale, sku = parameters["scale"].value, parameters["sqlSku"].value
    pool = parameters["sqlPoolSize"].value
    assert isinstance(scale, dict)
    assert isinstance(sku, dict)
    assert isinstance(pool, int)
    instances = scale["maximumInstanceCount"]
    workers = sku["capacity"] * 75
    sentence = f"{instances} instances times {pool} connections are {instances * pool} of {workers}"
    assert sentence in GUIDE.replace("\n", " ")


def test_azd_deploys_the_folder_that_is_built() -> None:
    [(name, service)] = AZD["services"].items()
    assert ROOT / service["project"] / service["dist"] == DISTRIBUTION / "app"
    assert service["remoteBuild"] is False
    main = (INFRA / "main.bicep").read_text()
    assert f"serviceName: '{name}'" in main


def test_hooks_run_commands_that_exist_with_what_bicep_puts_out() -> None:
    put_out = {d.name for d in bicep.declarations(INFRA / "main.bicep") if d.kind == "output"}
    of_azd = {"AZURE_SUBSCRIPTION_ID", "AZURE_ENV_NAME", "ENTRA_AUDIENCE"}
    for hook in AZD["hooks"].values():
        [module] = re.findall(r"-m (infra\.hooks\.\w+)", hook["run"])
        source = Path(ROOT, *module.split(".")).with_suffix(".py").read_text()
        used = set(re.findall(r"(?:env|environ)(?:\.get)?[\[(]['\"](\w+)", source))
        assert used <= put_out | of_azd
        assert 'if __name__ == "__main__":' in source
