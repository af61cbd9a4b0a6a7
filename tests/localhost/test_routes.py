import pytest

from localhost.errors import StartError
from localhost.routes import Match, Route, Router


def _find(template: str, path: str, method: str = "GET") -> dict[str, str] | None:
    """The values that a single function's route reads from a path, None where it is not served."""
    found = Router([Route("function", template, frozenset(["GET"]))], prefix="").find(method, path)
    return None if found is None else dict(found.params)


@pytest.mark.parametrize(
    ("template", "path", "params"),
    [
        ("", "/", {}),
        ("plain", "/plain", {}),
        ("plain", "/plain/", {}),
        ("plain", "/other", None),
        ("plain", "/plain/more", None),
        ("a.c", "/abc", None),
        ("{x}", "/1", {"x": "1"}),
        ("{x}", "/", None),
        ("a/{x}/b/{y}", "/a/1/b/2", {"x": "1", "y": "2"}),
        ("a/{x}", "/a/1/2", None),
        ("pre{x}post", "/pre1post", {"x": "1"}),
        ("pre{x}post", "/prepost", None),
        ("{name}.{kind}", "/file.json", {"name": "file", "kind": "json"}),
    ],
)
def test_a_template_serves_the_paths_it_describes(
    template: str, path: str, params: dict[str, str] | None
) -> None:
    assert _find(template, path) == params


@pytest.mark.parametrize(
    ("template", "path", "params"),
    [
        ("a/{x?}", "/a/1", {"x": "1"}),
        ("a/{x?}", "/a", {}),
        ("a/{x:int?}", "/a/1", {"x": "1"}),
        ("a/{x:int?}", "/a", {}),
        ("a/{x:int?}", "/a/one", None),
        ("{x?}", "/", {}),
    ],
)
def test_an_absent_optional_value_is_not_given(
    template: str, path: str, params: dict[str, str] | None
) -> None:
    assert _find(template, path) == params


@pytest.mark.parametrize(
    ("template", "path", "params"),
    [
        ("a/{x=one}", "/a", {"x": "one"}),
        ("a/{x=one}", "/a/two", {"x": "two"}),
        ("a/{x:int=1}", "/a", {"x": "1"}),
        ("a/{x=one}/{y=two}", "/a", {"x": "one", "y": "two"}),
        ("a/{x=one}/{y=two}", "/a/1", {"x": "1", "y": "two"}),
    ],
)
def test_an_absent_value_takes_its_default(
    template: str, path: str, params: dict[str, str]
) -> None:
    assert _find(template, path) == params


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        ("int", "12", "1x"),
        ("int", "-12", "1.2"),
        ("long", "9000000000", "x"),
        ("guid", "0f8fad5b-d9cb-469f-a165-70867728950e", "0f8fad5b-d9cb-469f-a165"),
        ("guid", "0f8fad5bd9cb469fa16570867728950e", "g" * 32),
        ("alpha", "abcXYZ", "ab1"),
        ("bool", "True", "yes"),
        ("regex(^[ab]+$)", "abab", "abc"),
        ("regex([0-9]{{2}}/?)", "12", "1"),
        ("alpha:regex(^a)", "abc", "bc"),
    ],
)
def test_a_constraint_decides_what_its_variable_takes(constraint: str, good: str, bad: str) -> None:
    template = f"n/{{x:{constraint}}}"
    assert _find(template, f"/n/{good}") == {"x": good}
    assert _find(template, f"/n/{bad}") is None


def test_a_constraint_that_is_not_known_here_is_refused() -> None:
    with pytest.raises(StartError, match=r"n/\{x:datetime\}.*datetime"):
        Router([Route("function", "n/{x:datetime}", frozenset(["GET"]))])


@pytest.mark.parametrize("rest", ["{*rest}", "{**rest}"])
def test_a_catch_all_takes_every_segment_that_is_left(rest: str) -> None:
    assert _find(f"files/{rest}", "/files/a/b/c") == {"rest": "a/b/c"}
    assert _find(f"files/{rest}", "/files/a") == {"rest": "a"}
    assert _find(f"files/{rest}", "/files") == {}
    assert _find(f"files/{rest}", "/filesystem") is None


def test_case_does_not_matter_in_a_path_and_is_kept_in_its_values() -> None:
    assert _find("Studies/{Study}", "/sTUDIES/AbC") == {"Study": "AbC"}


def test_values_are_decoded_but_for_an_encoded_slash() -> None:
    assert _find("{x}", "/a%20b%C3%A9") == {"x": "a bé"}
    assert _find("{x}", "/a%2Fb%2fc") == {"x": "a%2Fb%2Fc"}
    assert _find("{x}", "/a%252Fb") == {"x": "a%2Fb"}


def test_the_prefix_stands_before_every_template() -> None:
    router = Router([Route("function", "/hello", frozenset(["GET"]))], prefix="/api/")
    assert router.find("GET", "/api/hello") == Match("function", {})
    assert router.find("GET", "/hello") is None


def test_the_first_function_by_name_serves_a_path_that_several_could() -> None:
    general = Route("a_general", "{x}/{y}", frozenset(["GET"]))
    exact = Route("b_exact", "x/metadata", frozenset(["GET"]))
    found = Router([exact, general], prefix="").find("GET", "/x/metadata")
    assert found == Match("a_general", {"x": "x", "y": "metadata"})


def test_names_are_ordered_as_in_upper_case_so_an_underscore_follows_the_letters() -> None:
    routes = [Route(name, "x", frozenset(["GET"])) for name in ("get_x", "geta", "Getb")]
    found = Router(routes, prefix="").find("GET", "/x")
    assert found == Match("geta", {})


def test_a_path_that_only_other_methods_serve_is_not_found() -> None:
    assert _find("x", "/x", method="POST") is None


def test_a_function_of_another_method_does_not_hide_a_later_one() -> None:
    routes = [Route("a", "{x}", frozenset(["POST"])), Route("b", "{y}", frozenset(["GET"]))]
    assert Router(routes, prefix="").find("GET", "/1") == Match("b", {"y": "1"})
