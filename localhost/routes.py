"""HTTP routes as the Functions host has them: templates, methods, and the first match by name.

The host knows no specificity: it tries the functions in the order of their names, and the method
is part of the match, so a path that only other methods serve is not found.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from localhost.errors import StartError
from localhost.messages import Function

_ALL_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE")
_VARIABLE = re.compile(r"\{((?:[^{}]|\{\{|\}\})*)\}")
_SEGMENT = re.compile(rf"(?:{_VARIABLE.pattern}|[^/{{}}])+")
_CONSTRAINT = re.compile(r":(regex)\((.*)\)|:([^:]*)")
_PATTERNS: dict[str, str] = {
    "int": r"^-?\d+\Z",
    "long": r"^-?\d+\Z",
    "bool": r"^(?:true|false)\Z",
    "alpha": r"^[a-z]*\Z",
    "guid": r"^\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?\Z",
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


def http_routes(functions: Iterable[Function]) -> list[Route]:
    """The routes of an app; a function without one is served under its name."""
    routes = []
    for function in functions:
        trigger = function.binding("httpTrigger")
        if trigger is not None:
            methods = trigger.get("methods") or _ALL_METHODS
            template = trigger.get("route") or function.name
            names = frozenset(str(method).upper() for method in methods)
            routes.append(Route(function.name, template, names))
    return routes


class Router:
    """Finds the function of a request.

    Raises:
        StartError: A template says what is not known here.
    """

    def __init__(self, routes: Iterable[Route], prefix: str = "api") -> None:
        # By ordinal in upper case, as .NET compares: an underscore follows the letters.
        ordered = sorted(routes, key=lambda route: route.function.upper())
        self._routes = [(route, _Template.parse(route.template, prefix)) for route in ordered]

    def find(self, method: str, raw_path: str) -> Match | None:
        """Find by the path as it was sent, percent-encoded; an encoded slash stays encoded."""
        path = raw_path.strip("/")
        for route, template in self._routes:
            if method in route.methods and (params := template.match(path)) is not None:
                return Match(route.function, params)
        return None


@dataclass(slots=True)
class _Template:
    """A template as one expression, and what its variables must look like besides."""

    expression: re.Pattern[str]
    defaults: dict[str, str] = field(default_factory=dict)
    constraints: list[tuple[str, re.Pattern[str]]] = field(default_factory=list)

    @classmethod
    def parse(cls, template: str, prefix: str) -> "_Template":
        path = "/".join(part for part in (prefix.strip("/"), template.strip("/")) if part)
        parsed = cls(re.compile(""))
        text = ""
        for segment in _SEGMENT.finditer(path):
            slash = "/" if text else ""
            piece, is_optional = parsed._segment(segment[0], template)
            text += f"(?:{slash}{piece})?" if is_optional else slash + piece
        parsed.expression = re.compile(text + r"\Z", re.IGNORECASE)
        return parsed

    def match(self, path: str) -> dict[str, str] | None:
        """The values of the variables, None when the path is another's."""
        found = self.expression.match(path)
        if found is None:
            return None
        params = {name: _decoded(text) for name, text in found.groupdict().items() if text}
        for name, pattern in self.constraints:
            if name in params and not pattern.search(params[name]):
                return None
        return {**self.defaults, **params}

    def _segment(self, segment: str, template: str) -> tuple[str, bool]:
        """The expression of a segment, and whether it may be absent: only a lone variable may."""
        pattern = ""
        position = 0
        is_optional = False
        for variable in _VARIABLE.finditer(segment):
            pattern += re.escape(segment[position : variable.start()])
            position = variable.end()
            text, is_optional = self._variable(variable[1], template)
            pattern += text
            is_optional = is_optional and variable[0] == segment
        return pattern + re.escape(segment[position:]), is_optional

    def _variable(self, text: str, template: str) -> tuple[str, bool]:
        """The expression of a variable, and whether its value may be absent."""
        is_rest = text.startswith("*")
        declared, has_default, default = text.lstrip("*").removesuffix("?").partition("=")
        name, colon, constraints = declared.partition(":")
        if has_default:
            self.defaults[name] = default
        for found in _CONSTRAINT.finditer(colon + constraints):
            self.constraints.append((name, _constraint(found, template)))
        pattern = ".*" if is_rest else "[^/]+?"
        return f"(?P<{name}>{pattern})", is_rest or bool(has_default) or text.endswith("?")


def _constraint(found: re.Match[str], template: str) -> re.Pattern[str]:
    if found[1]:
        # Braces that do not end the variable are written twice.
        return re.compile(found[2].replace("{{", "{").replace("}}", "}"), re.IGNORECASE)
    if found[3] not in _PATTERNS:
        raise StartError(f"the route {template} has a constraint not known here: {found[3]}")
    return re.compile(_PATTERNS[found[3]], re.IGNORECASE)


def _decoded(text: str) -> str:
    return unquote(_ENCODED_SLASH.sub("%252F", text)) if "%" in text else text
