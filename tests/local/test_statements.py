"""Which SQL the local ClickHouse runs: what Tallymark asks, and nothing that could leave its tables."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Rejected
from pipeline.local.statements import MOST_CHARACTERS, check
from pipeline.stores.clickhouse import backfill, events, proof, schema, totals, usage, windows

FUNCTIONS = {"file", "url", "s3", "view", "values", "numbers", "format", "Python", "sqlite"}


def ours() -> list[str]:
    constants = [
        text
        for module in (backfill, schema, events, proof, totals, usage, windows)
        for value in vars(module).values()
        for text in (value.values() if isinstance(value, dict) else [value])
        if isinstance(text, str) and text.startswith(("SELECT", "INSERT", "ALTER"))
    ]
    return constants + [one for name in ("1-tables.sql", "2-newer.sql") for one in schema.statements(name)]


@pytest.mark.parametrize("statement", ours(), ids=range(len(ours())))
def test_what_tallymark_asks_is_allowed(statement: str) -> None:
    check(statement, FUNCTIONS)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1",
        " select 1 ; ",
        "SELECT ';', '--', '`file`(', 'INTO OUTFILE', 'a\\'; DROP TABLE x', 'é'",
        "SELECT file, url FROM events FORMAT CSV",
        "INSERT INTO marks (mark) VALUES ('a')",
        "SELECT number FROM numbers(3)",
        "WITH 1 AS a SELECT a",
        "CREATE TABLE t (a UInt8 DEFAULT 1) ENGINE = ReplacingMergeTree(a) ORDER BY a",
        "CREATE TABLE t (a UInt8) ENGINE Memory",
        "DROP TABLE events",
        "ALTER TABLE events DELETE WHERE 1",
    ],
)
def test_plain_sql_is_allowed(statement: str) -> None:
    check(statement, FUNCTIONS)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("", "begin with"),
        (";", "begin with"),
        ("SET max_threads = 1", "begin with"),
        ("SYSTEM SHUTDOWN", "begin with"),
        ("BACKUP DATABASE t TO File('/tmp/x')", "begin with"),
        ("ATTACH TABLE x FROM '/tmp'", "begin with"),
        ("(SELECT 1)", "begin with"),
        ("CREATE FUNCTION f AS (x) -> x", "Only tables"),
        ("CREATE DICTIONARY d (a UInt8) PRIMARY KEY a SOURCE(FILE(path '/etc/passwd'))", "Only tables"),
        ("CREATE", "Only tables"),
        ("SELECT 1; DROP TABLE events", "one statement"),
        ("SELECT 1;;SELECT 2", "one statement"),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", "OUTFILE"),
        ("INSERT INTO x FROM INFILE '/tmp/x'", "INFILE"),
        ("SELECT * FROM {x:Identifier}", "IDENTIFIER"),
        ("SELECT file('/etc/passwd')", "function file"),
        ("SELECT FILE ( '/etc/passwd' )", "function FILE"),
        ("SELECT * FROM python('x')", "function python"),
        ("SELECT * FROM view(SELECT 1)", "function view"),
        ("INSERT INTO FUNCTION s3('http://x/') VALUES (1)", "function s3"),
        ("CREATE TABLE t AS sqlite('/x', 'y')", "function sqlite"),
        ("SELECT `file`('/etc/passwd')", "quoted identifiers"),
        ('SELECT "file"(1)', "quoted identifiers"),
        ("SELECT 1 -- x", "comments"),
        ("SELECT /* x */ 1", "comments"),
        ("SELECT 1 # x", "comments"),
        ("SELECT $a$ x $a$", "heredocs"),
        ("SELECT \u2018a\u2019", "letters outside ASCII"),
        ("SELECT 'open", "is not allowed"),
        ("SELECT '\\'", "is not allowed"),
        ("SELECT 1\0", "is not allowed"),
        ("SELECT * FROM default.events", "database default"),
        ("SELECT * FROM 'default' . 'x'", "database default"),
        ("CREATE TABLE t (a UInt8) ENGINE = File(CSV)", "engine File"),
        ("CREATE TABLE t (a UInt8) ENGINE URL", "engine URL"),
        ("CREATE DATABASE fs ENGINE = Filesystem('/')", "engine Filesystem"),
        ("CREATE DATABASE fs ENGINE", "engine"),
        ("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local)", "DISK"),
        ("SELECT " + "1" * MOST_CHARACTERS, "at most"),
    ],
)
def test_what_reaches_elsewhere_is_refused_with_a_sentence(statement: str, why: str) -> None:
    with pytest.raises(Rejected) as refusal:
        check(statement, FUNCTIONS)
    assert refusal.value.reason == "refused-statement"
    assert why in refusal.value.detail


PIECES = [
    "SELECT",
    " ",
    "file",
    "(",
    ")",
    "'",
    "\\",
    ";",
    ".",
    "default",
    "ENGINE",
    "=",
    "1",
    "--",
    "`",
    "\n",
    "a",
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_any_text_is_allowed_or_refused_and_a_second_statement_never_gets_through(text: str) -> None:
    try:
        check(text, FUNCTIONS)
    except Rejected:
        return
    outside = _outside_of_texts(text)
    assert ";" not in outside.rstrip("; \n") and "--" not in outside and "`" not in outside
    assert text.strip().startswith("SELECT")


def _outside_of_texts(text: str) -> str:
    """What stands outside of '...', found by a plain walk."""
    kept, inside, place = [], False, 0
    while place < len(text):
        if inside and text[place] == "\\":
            place += 2
            continue
        if text[place] == "'":
            inside = not inside
        elif not inside:
            kept.append(text[place])
        place += 1
    return "".join(kept)


@pytest.mark.parametrize("piece", ["(", "'a'", "\\'", "'", "a", " ", "engine ", "engine=", "a.", "''", ";"])
def test_the_longest_statement_is_checked_at_once(piece: str) -> None:
    text = "SELECT " + piece * ((MOST_CHARACTERS - 7) // len(piece))
    began_s = time.process_time()
    with contextlib.suppress(Rejected):
        check(text, FUNCTIONS)
    assert time.process_time() - began_s < 1.0  # 65,536 squared would take minutes
