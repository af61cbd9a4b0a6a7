import re
from pathlib import Path

import pytest

from shared.access import ALL_ACTIONS, ROLES, DataAction, granted_by

CONFORMANCE = Path(__file__).parents[2] / "docs" / "conformance.md"


def test_the_conformance_statement_lists_the_roles_and_what_they_permit() -> None:
    section = CONFORMANCE.read_text().partition("| Role, or scope | Permits |")[2]
    rows = re.findall(
        r"^\| `([\w.]+)` \| ([\w, ]+) \|$", section.partition("\n\n")[0], re.MULTILINE
    )
    everything = {action.value for action in ALL_ACTIONS}
    assert {
        role: everything if permits == "everything" else set(permits.split(", "))
        for role, permits in rows
    } == {role: {action.value for action in actions} for role, actions in ROLES.items()}


@pytest.mark.parametrize("action", sorted(ALL_ACTIONS, key=str))
def test_every_action_is_granted_by_a_role_less_than_all_of_them(action: DataAction) -> None:
    granting = [actions for actions in ROLES.values() if action in actions]
    assert granting
    assert action is DataAction.ADMINISTER or any(actions < ALL_ACTIONS for actions in granting)


def test_no_role_grants_what_everybody_may_do() -> None:
    assert DataAction.ANONYMOUS not in ALL_ACTIONS | granted_by(ROLES)


def test_names_that_are_no_roles_grant_nothing() -> None:
    assert granted_by(["dicom.read", "", "read"]) == frozenset()
