"""Bicep as data: what a file declares, as far as that is written in it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

INFRA = Path(__file__).parents[2] / "infra"
FILES = sorted(INFRA.rglob("*.bicep"))

_PARSER = Parser(Language(tree_sitter_bicep.language()))


@dataclass(frozen=True, slots=True)
class Expression:
    """A value that is known only when it is deployed."""

    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The values of which a condition picks one."""

    values: tuple["Value", ...]


type Value = Mapping[str, "Value"] | list["Value"] | str | int | bool | Expression | Choice


@dataclass(frozen=True, slots=True)
class Declaration:
    """A parameter, output, type, resource or module.

    Attributes:
        kind: First word of the declaration.
        decorators: Decorators and their arguments as written, by name.
        target: Resource type with API version, or path of the module.
    """

    kind: str
    name: str
    decorators: Mapping[str, str]
    type: str
    target: str
    is_existing: bool
    value: Value | None


def parse(source: bytes) -> Node:
    return _PARSER.parse(source).root_node


def mistakes(node: Node) -> list[str]:
    """Where the grammar is not followed."""
    here = [f"line {node.start_point[0] + 1}"] if node.is_error or node.is_missing else []
    return here + [mistake for child in node.children for mistake in mistakes(child)]


def declarations(file: Path) -> Iterator[Declaration]:
    yield from _declarations(parse(file.read_bytes()))


def parameters(file: Path) -> dict[str, Declaration]:
    return {found.name: found for found in declarations(file) if found.kind == "parameter"}


def _declarations(node: Node) -> Iterator[Declaration]:
    decorators: dict[str, str] = {}
    for child in node.named_children:
        kind, _, what = child.type.rpartition("_")
        if child.type == "decorators":
            decorators = dict(map(_decorator, child.named_children))
        elif what == "declaration" or kind:
            yield _declaration(child, kind, decorators)
            decorators = {}


def _declaration(node: Node, kind: str, decorators: Mapping[str, str]) -> Declaration:
    name, *rest = node.named_children
    declared = next((_text(child) for child in rest if child.type == "type"), "")
    values = [child for child in rest if child.type != "type"]
    target = _text(values.pop(0)).strip("'") if kind in {"resource", "module"} else ""
    return Declaration(
        kind,
        _text(name),
        decorators,
        declared,
        target,
        is_existing=any(child.type == "existing" for child in node.children),
        value=value(values[-1]) if values else None,
    )


def _decorator(node: Node) -> tuple[str, str]:
    call = node.named_children[0]
    name, arguments = call.named_children
    return _text(name), _text(arguments)[1:-1]


def value(node: Node) -> Value:
    match node.type:
        case "object":
            return _object(node)
        case "array":
            return [value(child) for child in node.named_children if child.type != "comment"]
        case "for_statement" | "if_statement":
            body = value(node.named_children[-1])
            return [body] if node.type == "for_statement" else body
        case "ternary_expression":
            return Choice(tuple(value(child) for child in node.named_children[1:]))
        case "call_expression" if _text(node.named_children[0]) == "union":
            return _union(node.named_children[1])
        case _:
            return _scalar(node)


def _scalar(node: Node) -> Value:
    text = _text(node)
    match node.type:
        case "number" | "unary_expression" if text.removeprefix("-").isdecimal():
            return int(text)
        case "boolean":
            return text == "true"
        case "string" if not any(child.type == "interpolation" for child in node.children):
            return text[1:-1]
        case _:
            return Expression(text)


def _object(node: Node) -> Mapping[str, Value]:
    found = {}
    for item in node.named_children:
        if item.type == "object_property" and len(item.named_children) > 1:
            name, *_, given = item.named_children
            found[_text(name).strip("'")] = value(given)
    return found


def _union(arguments: Node) -> Value:
    merged: dict[str, Value] = {}
    for argument in map(value, arguments.named_children):
        if isinstance(argument, Mapping):
            merged |= argument
    return merged


def unresolved(root: Node) -> list[str]:
    """Names that nothing in a file declares; keys of objects and members of values are not such."""
    declared = {found.name for found in _declarations(root)}
    return sorted(set(_names(root)) - declared - set(_local_names(root)))


def _names(node: Node) -> Iterator[str]:
    kinds = ("object_property", "parameter_declaration", "output_declaration", "import_statement")
    skipped = node.named_children[:1] if node.type in kinds else []
    if node.type == "decorators":
        return
    if node.type == "identifier":
        yield _text(node)
    for child in node.named_children:
        if child not in skipped or child.type != "identifier":
            yield from _names(child)


def _local_names(node: Node) -> Iterator[str]:
    """Names that a loop, a lambda or an import makes."""
    if node.type in {"for_loop_parameters", "lambda_expression"}:
        yield from re.findall(r"\w+", _text(node).partition("=>")[0])
    elif node.type == "for_statement":
        yield from re.findall(r"\w+", _text(node).partition(" in ")[0])[1:]
    elif node.type.startswith("import"):
        yield from re.findall(r"\w+", _text(node).partition(" from ")[0])
    for child in node.named_children:
        yield from _local_names(child)


def _text(node: Node) -> str:
    return (node.text or b"").decode()
