"""HTTP routes as the Functions host has them: templates, methods, and the first match by name.

The host knows no specificity: it tries the functions in the order of their names, and the method
is part of the match, so a path that only other methods serve is not found.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

_SEGMENT_VARIABLE = re.compile(r"\{([^{}]*)\}")
_ANY = r"[^/]+?"
_CONSTRAINTS: dict[str, str] = {
    "int": r"-?\d+",
    "long": r"-?\d+",
    "bool": r"true|false",
    "alpha": r"[a-z]+",
    "guid": r"\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?",
}
_ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a function is served; `template` has no prefix and no leading slash."""

    function: str
    template: str
    methods: frozenset[str]


@dataclass(frozen=True, slots=True)
class Match:
    """The function that serves a request, and the values of its route's variables."""

    function: str
    params: Mapping[str, str]


type _Compiled = tuple[str, frozenset[str], Callable[[str], re.Match[str] | None], dict[str, str]]


class Router:
    """Finds the function of a request."""

    def __init__(self, routes: Iterable[Route], prefix: str = "api") -> None:
        ordered = sorted(routes, key=lambda route: route.function.lower())
        self._routes = [_compile(route, prefix.strip("/")) for route in ordered]

    def find(self, method: str, raw_path: str) -> Match | None:
        """Find by the path as it was sent, percent-encoded; an encoded slash stays encoded."""
        path = raw_path.strip("/")
        for function, methods, match, defaults in self._routes:
            if method in methods and (found := match(path)):
                given = {name: text for name, text in found.groupdict().items() if text is not None}
                params = {name: _decoded(text) for name, text in given.items()}
                return Match(function, {**defaults, **params})
        return None


def _decoded(text: str) -> str:
    return unquote(_ENCODED_SLASH.sub("%252F", text)) if "%" in text else text


def _compile(route: Route, prefix: str) -> _Compiled:
    template = "/".join(part for part in (prefix, route.template.strip("/")) if part)
    pattern = ""
    defaults: dict[str, str] = {}
    for number, segment in enumerate(_segments(template)):
        piece, is_optional = _segment(segment, defaults)
        slash = "/" if number else ""
        pattern += f"(?:{slash}{piece})?" if is_optional else slash + piece
    return route.function, route.methods, re.compile(pattern + r"\Z", re.IGNORECASE).match, defaults


def _segments(template: str) -> list[str]:
    # A slash within braces (a constraint's pattern) does not end a segment.
    return re.findall(r"(?:\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|[^/{}])+", template)


def _segment(segment: str, defaults: dict[str, str]) -> tuple[str, bool]:
    is_optional = False
    pattern = ""
    position = 0
    for variable in _SEGMENT_VARIABLE.finditer(segment):
        pattern += re.escape(segment[position : variable.start()])
        position = variable.end()
        text, optional = _variable(variable[1], defaults)
        pattern += text
        is_optional = is_optional or (optional and variable[0] == segment)
    return pattern + re.escape(segment[position:]), is_optional


def _variable(text: str, defaults: dict[str, str]) -> tuple[str, bool]:
    is_rest = text.startswith("*")
    text = text.lstrip("*")
    is_optional = is_rest or text.endswith("?")
    declared, has_default, default = text.removesuffix("?").partition("=")
    name, _, constraint = declared.partition(":")
    if has_default:
        defaults[name] = default
    return f"(?P<{name}>{'.*' if is_rest else _constraint(constraint)})", bool(
        is_optional or has_default
    )


def _constraint(text: str) -> str:
    if text.startswith("regex(") and text.endswith(")"):
        return f"(?:{text[6:-1].removeprefix('^').removesuffix('$')})"
    return f"(?:{_CONSTRAINTS[text]})" if text in _CONSTRAINTS else _ANY
