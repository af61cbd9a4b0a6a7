"""What T-SQL, or a server of its limits, would refuse; each finding is a sentence.

Limits: Microsoft, "Maximum capacity specifications for SQL Server"; grammar: the pages of each
statement in "Transact-SQL reference".
"""

import re
from collections.abc import Iterable, Iterator

import sqlglot
from sqlglot.errors import SqlglotError

from tests.contracts.tsql.wire import Sent

MAX_PARAMETERS = 2099
"""A statement takes 2100, of which sp_executesql is said to take one."""
MAX_ROWS_OF_VALUES = 1000

_LITERAL = re.compile(r"'(?:[^']|'')*'|\[[^\]]*\]")
_ROW = r"\((?:\?|\d+|, )+\)"
_SEVERAL = re.compile(rf"(\?|{_ROW})(?:, (?:\?|{_ROW}))+")

FORBIDDEN = {
    "LIMIT": r"\bLIMIT\b",
    "RETURNING": r"\bRETURNING\b",
    "ON CONFLICT": r"\bON CONFLICT\b",
    "an aggregate with a FILTER": r"\bFILTER\s*\(",
    "rows as values of IN": r"\([^()]+,[^()]+\)\s*(?:NOT )?IN\b",
    "EXISTS as a value": r"\bSELECT\s+(?:NOT\s+)?\(?\s*EXISTS\b|,\s*\(?EXISTS\b",
    "a comparison as a value": r"\bSELECT(?:(?!\bFROM\b|\bCASE\b)[^()])*\s(?:=|<|>|<>|IS)\s",
    "TRUE or FALSE": r"\b(?:TRUE|FALSE)\b",
    "a test of truth": r"\bIS (?:NOT )?(?:TRUE|FALSE|DISTINCT FROM)\b",
    "|| for +": r"\|\|",
    "MERGE, which races": r"\bMERGE\s+(?:INTO|TOP|\w+\s+(?:AS|USING|WITH))\b",
    "the place of NULLs": r"\bNULLS (?:FIRST|LAST)\b",
    "ILIKE or GLOB": r"\b(?:ILIKE|GLOB|REGEXP)\b",
    "a natural join, or USING": r"\bNATURAL JOIN\b|\bJOIN \w+ USING\b",
    "a large type of old": r"\b(?:N?TEXT|IMAGE|ROWVERSION)\b(?! AS)",
    "DATETIME, of three milliseconds": r"\bDATETIME\b",
    "an uncommitted read": r"\bNOLOCK\b|\bREADUNCOMMITTED\b",
    "a savepoint": r"\bSAVEPOINT\b",
    "OFFSET without an order": r"\A(?!.*\bORDER BY\b).*\bOFFSET\b",
    "a function of a column in a condition": (
        r"\b(?:WHERE|AND|OR|ON) \(?(?:LOWER|UPPER|CAST|CONVERT|LTRIM|RTRIM|SUBSTRING|ISNULL"
        r"|COALESCE|LEFT|DATEPART|YEAR|LEN)\s*\("
    ),
}
"""Patterns, outside of literals and names, of what must not be sent."""

_FORBIDDEN = {
    what: re.compile(pattern, re.IGNORECASE | re.DOTALL) for what, pattern in FORBIDDEN.items()
}


def denied(text: str) -> list[str]:
    """What a statement has that it must not have."""
    bare = _LITERAL.sub("''", text)
    return [what for what, pattern in _FORBIDDEN.items() if pattern.search(bare)]


def beyond_limits(sent: Sent) -> Iterator[str]:
    """The limits of a statement that it, or its parameters, exceed."""
    if len(sent.parameters) > MAX_PARAMETERS:
        yield f"{len(sent.parameters)} parameters"
    if sent.text.count("?") != len(sent.parameters):
        yield f"{sent.text.count('?')} marks for {len(sent.parameters)} parameters"
    _, _, rows = sent.text.partition(") VALUES ")
    if len(re.findall(_ROW, rows)) > MAX_ROWS_OF_VALUES:
        yield f"more than {MAX_ROWS_OF_VALUES} rows of VALUES"


def not_parsed(texts: Iterable[str]) -> Iterator[str]:
    """Statements that are no T-SQL to sqlglot, each with its reason."""
    for text in dict.fromkeys(_SEVERAL.sub(r"\1", text) for text in texts):
        try:
            sqlglot.parse(text, dialect="tsql", error_level=sqlglot.ErrorLevel.RAISE)
        except SqlglotError as error:
            yield f"{text}: {error}"


def as_batch(text: str) -> str:
    """A statement as ODBC sends it: with names of parameters for its question marks."""
    first, *others = text.split("?")
    return first + "".join(f"@P{number}{part}" for number, part in enumerate(others, 1))
