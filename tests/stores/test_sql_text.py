"""SQL text is made of constants: no value can get into it but as a bound parameter.

Read from the source: in the modules that talk to ClickHouse no text with SQL in it is formatted, and what is
given to `query` and `execute` is a constant, or put together by one of the few functions named here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PIPELINE = Path(__file__).parent.parent.parent / "pipeline"
MODULES = sorted([*(PIPELINE / "stores").glob("*.py"), PIPELINE / "local" / "clickhouse.py"])
SQL = re.compile(
    r"\b(SELECT|INSERT INTO|FROM|WHERE|GROUP BY|ORDER BY|CREATE|ALTER|DROP|USE|LIMIT|VALUES|HAVING)\b"
)

# Where text may be joined: (module, function). Each takes names from a fixed list or checks them first.
JOINS = {
    ("stores/clickhouse", "insert_statement"),
    ("stores/clickhouse", "create_database_statement"),
    ("stores/clickhouse_native", "insert"),
    ("stores/clickhouse_http", "insert"),
    ("local/clickhouse", "_use"),
    ("stores/usage", "_scope"),
    ("stores/usage", "_conditions"),
    ("stores/usage", "_stored"),
    ("stores/usage", "_edge"),
    ("stores/usage", "_fresh"),
    ("stores/events", "events"),
}
# Variables that hold such text, and calls that give it.
TEXTS = {"sql", "statement", "select", "members", "asked", "text", "conditions"}
ASKING = {"query", "execute", "send_insert", "execute_iter"}
CALLS = {"_driver_text", "create_database_statement"}


def texts(node: ast.AST) -> str:
    found = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
    return " ".join(value for value in found if isinstance(value, str))


def formatted(tree: ast.AST) -> Iterator[ast.AST]:
    """Text that is formatted: f"", "".format(), "" % x."""
    for node in ast.walk(tree):
        is_call = (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format"
        )
        is_percent = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod)
        if isinstance(node, ast.JoinedStr) or is_call or is_percent:
            yield node


def is_constant(node: ast.expr) -> bool:
    """A literal, a constant of a module, one of the named texts, or these added up."""
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.Name):
        return node.id in TEXTS or node.id.strip("_").isupper()
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return is_constant(node.left) and is_constant(node.right)
    if isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return called in CALLS
    return False


def asked(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        method = node.func if isinstance(node, ast.Call) else None
        asks = isinstance(method, ast.Attribute) and method.attr in ASKING
        if isinstance(node, ast.Call) and asks and node.args:
            yield node


def problems(source: str, module: str) -> list[str]:
    tree = ast.parse(source)
    found = [
        f"{module}:{node.lineno} formats SQL"
        for node in formatted(tree)
        if SQL.search(texts(node))  # type: ignore[attr-defined]
    ]
    found += [
        f"{module}:{call.lineno} asks with made text" for call in asked(tree) if not is_constant(call.args[0])
    ]
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and (module, function.name) not in JOINS:
            for node in ast.walk(function):
                if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and SQL.search(texts(node)):
                    found.append(f"{module}:{node.lineno} joins SQL")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_value_gets_into_sql_text(path: Path) -> None:
    assert problems(path.read_text("utf-8"), str(path.relative_to(PIPELINE).with_suffix(""))) == []


@pytest.mark.parametrize(
    "source",
    [
        'def f(x): return f"SELECT 1 FROM t WHERE a = {x}"',
        'Q = "SELECT {}".format(1)',
        'Q = "SELECT %s" % 1',
        'def f(store, x): store.query("SELECT " + x)',
        'def f(store, x): store.query(f"{x}")',
        "def f(store, x): store.query(x)",
        'def f(x): return "SELECT " + x',
        'def f(client, x): client.execute("a".join(x))',
    ],
)
def test_the_check_finds_what_it_is_for(source: str) -> None:
    assert problems(source, "some")


def test_the_check_reads_the_modules_that_ask() -> None:
    names = {path.stem for path in MODULES}
    assert {"clickhouse", "clickhouse_native", "clickhouse_http", "usage", "events", "totals"} <= names
