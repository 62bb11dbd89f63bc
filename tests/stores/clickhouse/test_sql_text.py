"""SQL text is made of constants: no value can get into it but as a bound parameter.

Read from the source. What is given to `query` is traced back, through local names, conditions and the few functions
that build SQL, to literals of the module; numbers that name a parameter are the one thing that may be put into them.
The wires, which carry the text of others on, are held to a plainer rule: they format no SQL, and join none but where
it is named here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PIPELINE = Path(__file__).parents[3] / "pipeline"
FOLDERS = ("stores", "api", "agents", "local")
MODULES = sorted(path for folder in FOLDERS for path in (PIPELINE / folder).rglob("*.py"))
WIRES = {
    "stores/clickhouse/client",
    "stores/clickhouse/schema",
    "stores/clickhouse/native",
    "stores/clickhouse/http",
    "api/http/large_answers",  # hands over what the store's callers ask, as a wire does
    "local/clickhouse_front",
}
SQL = re.compile(
    r"\b(SELECT|INSERT INTO|FROM|WHERE|GROUP BY|ORDER BY|CREATE|ALTER|DROP|USE|LIMIT|VALUES|HAVING)\b"
)

# Functions whose result is SQL: what they return is traced too, and so is what they are given as SQL.
BUILDERS = {
    "text_condition": "column",
    "time_condition": "operators",
    "counted_condition": "",
    "refused_condition": "",
    "_conditions": "",
    "_Scope": "",
}
SQL_MEMBERS = {"keys", "conditions"}  # of _Scope, whose making is traced
# Of the wires: (module, function) that may join SQL. Each takes names from a fixed list or checks them first.
JOINS = {
    ("stores/clickhouse/client", "insert_statement"),
    ("stores/clickhouse/client", "create_database_statement"),
    ("stores/clickhouse/native", "insert"),
    ("stores/clickhouse/http", "insert"),
    ("stores/clickhouse/schema", "_missing"),
    ("local/clickhouse_front", "_insert"),
    ("local/clickhouse_front", "_use"),
    ("local/clickhouse_front", "_limit"),
}
ASKING = {"query", "execute_iter", "send_insert"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def texts(node: ast.AST) -> str:
    found = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
    return " ".join(value for value in found if isinstance(value, str))


def called(node: ast.AST) -> str:
    """The last name of what is called."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def names(target: ast.AST, name: str) -> bool:
    return any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(target))


def assigned(target: ast.expr, value: ast.expr, name: str) -> Iterator[ast.expr]:
    """What an assignment gives to a name."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for one, given in zip(target.elts, value.elts, strict=True):
            yield from assigned(one, given, name)
    elif isinstance(target, ast.Name) and target.id == name:
        yield value
    elif not isinstance(target, ast.Subscript | ast.Attribute) and names(target, name):
        yield ast.Name("<unpacked>")


def values_of(scope: ast.AST, name: str) -> Iterator[ast.expr]:
    """All that a name is given in a function or a module; of a loop or a list, what it is made of."""
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from assigned(target, node.value, name)
        elif isinstance(node, ast.AnnAssign | ast.AugAssign) and node.value is not None:
            yield from assigned(node.target, node.value, name)
        elif isinstance(node, ast.For | ast.comprehension) and names(node.target, name):
            yield node.iter
        elif isinstance(node, ast.Call) and called(node) == "append" and names(node.func, name):
            yield node.args[0]


class Trace:
    """Whether expressions of one function are made of the module's own literals."""

    def __init__(self, module: ast.Module, function: Function) -> None:
        self.module, self.function = module, function
        arguments = function.args
        self.parameters = {
            one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        }
        self._asked: set[str] = set()

    def sql(self, node: ast.expr) -> bool:
        """A literal text, or one joined of such; also a list, a tuple or a mapping of them."""
        if isinstance(node, ast.Constant):
            return isinstance(node.value, str)
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, ast.BinOp):
            return isinstance(node.op, ast.Add) and self.part(node.left) and self.part(node.right)
        if isinstance(node, ast.IfExp):
            return self.sql(node.body) and self.sql(node.orelse)
        if isinstance(node, ast.List | ast.Tuple):
            return all(map(self.sql, node.elts))
        if isinstance(node, ast.Dict):
            return all(map(self.sql, node.values))
        if isinstance(node, ast.ListComp | ast.GeneratorExp):
            return self.sql(node.elt)
        if isinstance(node, ast.Subscript):  # of a mapping or a list of ours, whatever chooses
            return self.sql(node.value)
        if isinstance(node, ast.Attribute):
            return node.attr in SQL_MEMBERS and isinstance(node.value, ast.Name) and node.value.id == "scope"
        return isinstance(node, ast.Call) and self._call(node)

    def part(self, node: ast.expr) -> bool:
        """SQL, or a number as text."""
        if called(node) == "str" and isinstance(node, ast.Call):
            (of,) = node.args
            numbers = [part for part in ast.walk(of) if isinstance(part, ast.Name)]
            return called(of) == "len" or all(self._number(part.id) for part in numbers)
        return self.sql(node)

    def _number(self, name: str) -> bool:
        return name == "place" or name.strip("_").isupper()

    def _name(self, name: str) -> bool:
        if name in self._asked:
            return True  # a name that is built of itself: its other values decide
        if name in self.parameters:
            return BUILDERS.get(self.function.name) == name
        found = list(values_of(self.function, name))
        if not found and name.strip("_").isupper():
            found = list(values_of(self.module, name)) or [ast.Constant("")] * self._imported(name)
        self._asked.add(name)
        try:
            return bool(found) and all(map(self.part, found))
        finally:
            self._asked.discard(name)

    def _imported(self, name: str) -> bool:
        """Whether a constant comes from another module, which is read by itself."""
        imports = (node for node in ast.walk(self.module) if isinstance(node, ast.ImportFrom))
        return any(name in {one.name for one in node.names} for node in imports)

    def _call(self, node: ast.Call) -> bool:
        name = called(node)
        if name in BUILDERS:
            return True  # what it is given and what it returns are checked by `problems`
        if name == "tuple":
            return all(map(self.sql, node.args))
        if not isinstance(node.func, ast.Attribute):
            return False
        if name == "replace":
            return self.sql(node.func.value) and all(map(self.part, node.args))
        if name == "join":
            return self.sql(node.func.value) and all(map(self.sql, node.args))
        return name == "get" and self.sql(node.func.value)


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def asked(function: Function) -> Iterator[ast.Call]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and called(node) in ASKING:
            yield node


def problems(source: str, module: str) -> list[str]:
    tree = ast.parse(source)
    found = []
    for function in functions(tree):
        trace = Trace(tree, function)
        for call in asked(function):
            given = [*call.args[:1], *(word.value for word in call.keywords if word.arg in ("sql", None))]
            found += [f"{module}:{call.lineno} asks with made text" for one in given if not trace.sql(one)]
        for node in ast.walk(function):
            if called(node) in BUILDERS and isinstance(node, ast.Call):
                texts_ = (
                    node.args[:2] if called(node) == "_Scope" else node.args[: bool(BUILDERS[called(node)])]
                )
                wrong = [one for one in texts_ if not trace.sql(one)] or any(
                    w.arg is None for w in node.keywords
                )
                found += [f"{module}:{node.lineno} builds SQL of made text"] * bool(wrong)
            returns = function.name in BUILDERS and isinstance(node, ast.Return)
            if returns and (node.value is None or not trace.sql(node.value)):  # type: ignore[attr-defined]
                found.append(f"{module}:{node.lineno} returns made text as SQL")  # type: ignore[attr-defined]
    return found


def wire_problems(source: str, module: str) -> list[str]:
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        is_percent = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod)
        if (isinstance(node, ast.JoinedStr) or called(node) == "format" or is_percent) and SQL.search(
            texts(node)
        ):
            found.append(f"{module}:{node.lineno} formats SQL")  # type: ignore[attr-defined]
    for function in functions(tree):
        for node in ast.walk(function):
            joins = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)
            if joins and SQL.search(texts(node)) and (module, function.name) not in JOINS:
                found.append(f"{module}:{node.lineno} joins SQL")  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_value_gets_into_sql_text(path: Path) -> None:
    module = str(path.relative_to(PIPELINE).with_suffix(""))
    check = wire_problems if module in WIRES else problems
    assert check(path.read_text("utf-8"), module) == []


@pytest.mark.parametrize(
    "source",
    [
        'def f(store, x): store.query("SELECT " + x)',
        'def f(store, x): store.query(f"SELECT {x}")',
        'def f(store, x): store.query("SELECT {}".format(x))',
        'def f(store, x): store.query("SELECT %s" % x)',
        "def f(store, x): store.query(x)",
        "def f(store, x): store.query(sql=x)",
        "def f(store, x): store.query(**x)",
        "def f(store, x): store.query(x.text)",
        'def f(store, x): store.query("SELECT ".join(x))',
        'def f(store, x): store.query("SELECT " + ", ".join(name for name in x))',
        'def f(store, x):\n    sql = "SELECT "\n    sql += x\n    store.query(sql)',
        'def f(store, x):\n    select, other = x, 1\n    store.query("SELECT " + select)',
        'def f(store, x):\n    for asked in x: store.query("SELECT " + asked)',
        'def f(store, x):\n    parts = ["a"]\n    parts.append(x)\n    store.query(" ".join(parts))',
        'A = "SELECT #"\ndef f(store, x): store.query(A.replace("#", x))',
        'A = "SELECT #"\ndef f(store, x): store.query(A.replace("#", str(x)))',
        'def f(store, x): store.query("a" if x else x)',
        "import os\nA = os.environ['A']\ndef f(store): store.query(A)",
        "a = 'SELECT 1'\ndef f(store): store.query(a)",
        "def f(store, x): store.query(text_condition(x, None, {}))",
        "def f(x): return _Scope('SELECT', x, {})",
        "def text_condition(column, f, p): return f.operand",
        "def f(store, other): store.query(other.keys)",
    ],
)
def test_the_check_finds_what_it_is_for(source: str) -> None:
    assert problems(source, "some")


@pytest.mark.parametrize(
    "source",
    [
        'def f(store, x): store.query("SELECT {x:String}", {"x": x})',
        'A = "SELECT "\ndef f(store): store.query(A + "1")',
        'A = {1: "SELECT 1", 2: "SELECT 2"}\ndef f(store, x): store.query(A[x])',
        'A = "{p#:String}"\ndef f(store, x):\n    place = str(len(x))\n    store.query(A.replace("#", place))',
    ],
)
def test_the_check_lets_pass_what_is_constant(source: str) -> None:
    assert problems(source, "some") == []


@pytest.mark.parametrize(
    "source",
    [
        'def f(x): return f"SELECT 1 FROM t WHERE a = {x}"',
        'Q = "SELECT {}".format(1)',
        'Q = "SELECT %s" % 1',
        'def f(x): return "SELECT " + x',
    ],
)
def test_the_check_of_wires_finds_what_it_is_for(source: str) -> None:
    assert wire_problems(source, "some")


def test_the_checks_read_the_modules_that_ask() -> None:
    asking = {
        str(path.relative_to(PIPELINE).with_suffix(""))
        for path in PIPELINE.rglob("*.py")
        if any(name in (source := path.read_text("utf-8")) for name in ASKING)  # most modules name none
        and any(True for function in functions(ast.parse(source)) for _ in asked(function))
    }
    read = {str(path.relative_to(PIPELINE).with_suffix("")) for path in MODULES}
    assert asking <= read, "SQL is asked where it is not checked"
    assert {f"stores/clickhouse/{name}" for name in ("usage", "events", "totals")} <= asking
