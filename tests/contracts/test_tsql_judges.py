"""Each judge of T-SQL is seen to refuse what it is there for, and to let pass what it is not."""

import pytest
from sqlalchemy import Unicode, bindparam, select

from shared.adapters.sql_index.schema import study
from tests.contracts.tsql.judges import (
    FORBIDDEN,
    MAX_PARAMETERS,
    MAX_ROWS_OF_VALUES,
    as_batch,
    beyond_limits,
    denied,
    not_parsed,
)
from tests.contracts.tsql.script_dom import faults, needs_script_dom
from tests.contracts.tsql.statements import unlike_in_type
from tests.contracts.tsql.wire import Sent

REFUSED = {
    "LIMIT": "SELECT a FROM t LIMIT 1",
    "RETURNING": "DELETE FROM t RETURNING a",
    "ON CONFLICT": "INSERT INTO t (a) VALUES (?) ON CONFLICT DO NOTHING",
    "an aggregate with a FILTER": "SELECT count(*) FILTER (WHERE a = 1) FROM t",
    "rows as values of IN": "SELECT a FROM t WHERE (t.a, t.b) IN ((?, ?))",
    "EXISTS as a value": "SELECT EXISTS (SELECT 1 FROM t)",
    "a comparison as a value": "SELECT a, b = ? FROM t",
    "TRUE or FALSE": "SELECT a FROM t WHERE b = true",
    "a test of truth": "SELECT a FROM t WHERE (b = 1) IS TRUE",
    "|| for +": "SELECT a || b FROM t",
    "MERGE, which races": "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE",
    "the place of NULLs": "SELECT a FROM t ORDER BY a NULLS LAST",
    "ILIKE or GLOB": "SELECT a FROM t WHERE a GLOB 'b*'",
    "a natural join, or USING": "SELECT a FROM t JOIN s USING (a)",
    "a large type of old": "CREATE TABLE t (a NTEXT)",
    "DATETIME, of three milliseconds": "CREATE TABLE t (a DATETIME)",
    "an uncommitted read": "SELECT a FROM t WITH (NOLOCK)",
    "a savepoint": "RELEASE SAVEPOINT a",
    "OFFSET without an order": "SELECT a FROM t OFFSET 1 ROWS",
    "a function of a column in a condition": "SELECT a FROM t WHERE lower(t.a) = ?",
}
REFUSED_BY_PARSERS = [
    "SELECT a FROM t LIMIT 1",
    "SELECT EXISTS (SELECT 1 FROM t)",
    "SELECT a, b = 1 AND c = 2 FROM t",
    "SELECT a FROM t WHERE (a, b) IN ((?, ?))",
    "SELECT a FROM (SELECT a FROM t ORDER BY a) AS s",
    "SELECT a FROM t ORDER BY a NULLS LAST",
    "SELECT a FROM t OFFSET 1 ROWS",
    "DELETE FROM t RETURNING a",
    "SELECT a FROM t WITH (UPDATELOCK)",
    "SELECT a FROM t WHERE b = 1 IS TRUE",
    "CREATE INDEX i ON t (a) WHERE a IS NULL OR b = 1",
]
GOOD = [
    "SELECT a FROM t WITH (UPDLOCK, HOLDLOCK, ROWLOCK) WHERE a IN (?, ?) AND b = 'LIMIT || 1'",
    "SELECT a, (SELECT TOP 1 c FROM s WHERE s.a = t.a ORDER BY c) AS [returning] FROM t"
    " WHERE EXISTS (SELECT 1 FROM s) ORDER BY a OFFSET ? ROWS FETCH FIRST ? ROWS ONLY",
    "INSERT INTO t (a, b) OUTPUT inserted.c SELECT p0, p1 FROM (VALUES (?, ?, 0), (?, ?, 1))"
    " AS imp_sen(p0, p1, sen) ORDER BY sen",
    "CREATE UNIQUE INDEX i ON t (a, b) INCLUDE (c) WHERE c IS NOT NULL",
]


def test_each_pattern_that_is_forbidden_has_an_example() -> None:
    assert REFUSED.keys() == FORBIDDEN.keys()


@pytest.mark.parametrize(("what", "text"), REFUSED.items())
def test_each_example_is_denied_for_its_reason(what: str, text: str) -> None:
    assert what in denied(text)


def test_what_is_good_is_denied_by_none() -> None:
    assert [denied(text) for text in GOOD] == [[] for _ in GOOD]
    assert list(not_parsed(GOOD)) == []


@needs_script_dom
def test_microsofts_parser_refuses_what_is_no_t_sql_and_nothing_else() -> None:
    found = faults([as_batch(text) for text in REFUSED_BY_PARSERS + GOOD])
    assert [bool(errors) for errors in found] == [True] * len(REFUSED_BY_PARSERS) + [False] * len(
        GOOD
    )
    assert found[0] == ["1:17 Incorrect syntax near LIMIT."]


@pytest.mark.parametrize(
    "text", ["SELECT a FROM t WHERE", "SELECT a FROM (SELECT b", "UPDATE t SET a ="]
)
def test_sqlglot_refuses_what_is_cut_off(text: str) -> None:
    assert list(not_parsed([text]))


def test_statements_beyond_the_limits_of_the_server_are_found() -> None:
    marks = ", ".join("?" * (MAX_PARAMETERS + 1))
    many = Sent("SELECT a WHERE a IN (?)".replace("?", marks), (1,) * (MAX_PARAMETERS + 1), ())
    assert list(beyond_limits(many)) == ["2100 parameters"]
    rows = ", ".join(["(1, 2)"] * (MAX_ROWS_OF_VALUES + 1))
    long = Sent("INSERT INTO t (a, b) VALUES ?".replace("?", rows), (), ())
    assert list(beyond_limits(long)) == ["more than 1000 rows of VALUES"]
    assert list(beyond_limits(Sent("SELECT a FROM t WHERE b = ?", (), ())))
    assert not list(beyond_limits(Sent("SELECT a FROM t WHERE b = ?", (1,), ())))


def test_a_comparison_that_loses_an_index_is_found() -> None:
    uid = study.c.study_instance_uid
    assert list(unlike_in_type(select(uid).where(uid == bindparam("uid", type_=Unicode(64)))))
    assert not list(unlike_in_type(select(uid).where(uid == bindparam("uid"))))
