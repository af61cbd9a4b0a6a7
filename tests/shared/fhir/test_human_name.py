"""Person names keep their groups and components apart."""

from typing import Any

import pytest

from shared.fhir.human_name import display, human_names

REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"


def code(name: dict[str, Any]) -> str:
    [extension] = name["extension"]
    assert extension["url"] == REPRESENTATION
    return str(extension["valueCode"])


def test_components_become_parts_of_the_name() -> None:
    assert human_names("Adams^John Robert^Quincy^Rev. Dr.^B.A. M.Div.", "usual") == [
        {
            "use": "usual",
            "text": "Rev. Dr. John Robert Quincy Adams B.A. M.Div.",
            "family": "Adams",
            "given": ["John", "Robert", "Quincy"],
            "prefix": ["Rev.", "Dr."],
            "suffix": ["B.A.", "M.Div."],
        }
    ]


def test_every_group_of_a_name_is_a_name_of_its_own() -> None:
    names = human_names("Yamada^Tarou=山田^太郎=やまだ^たろう")
    assert [code(name) for name in names] == ["ABC", "IDE", "SYL"]
    assert [name["family"] for name in names] == ["Yamada", "山田", "やまだ"]
    assert [name["given"] for name in names] == [["Tarou"], ["太郎"], ["たろう"]]
    assert [name["text"] for name in names] == ["Tarou Yamada", "山田 太郎", "やまだ たろう"]
    assert not any("prefix" in name for name in names)


def test_a_name_of_one_other_group_says_in_which_it_is_written() -> None:
    [name] = human_names("=山田^太郎")
    assert code(name) == "IDE"


@pytest.mark.parametrize("text", ["", "^^^", "*", "?^?", "==", " ^ ", "..."])
def test_a_name_that_says_nothing_is_none(text: str) -> None:
    assert human_names(text) == []
    assert display(text) is None


def test_blanks_and_missing_components_leave_nothing_empty() -> None:
    assert human_names("  Doe ^^ ") == [{"text": "Doe", "family": "Doe"}]
    assert human_names("^Jane") == [{"text": "Jane", "given": ["Jane"]}]
