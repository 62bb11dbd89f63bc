"""The distribution as a whole: both clients alike, typed, and its README true."""

from __future__ import annotations

import ast
import inspect
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest
import tallymark
from tallymark import AsyncBuffer, AsyncClient, Buffer, Client

from tests.client.server import Server, Turn

HOME = Path(__file__).parents[2] / "deploy" / "client-python"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", (HOME / "README.md").read_text(), re.DOTALL | re.MULTILINE)


def test_the_async_resources_are_made_from_the_sync_ones() -> None:
    make_async = runpy.run_path(str(HOME / "make_async.py"))
    made = make_async["async_text"](make_async["SOURCE"].read_text())
    assert ast.dump(ast.parse(made)) == ast.dump(ast.parse(make_async["TARGET"].read_text()))


@pytest.mark.parametrize(("one", "other"), [(Client, AsyncClient), (Buffer, AsyncBuffer)])
def test_both_have_the_same_calls(one: type, other: type) -> None:
    def calls(kind: type) -> dict[str, list[tuple[str, object, object]]]:
        found = {name: value for name, value in vars(kind).items() if isinstance(value, FunctionType)}
        return {
            name: [(p.name, p.kind, p.default) for p in inspect.signature(call).parameters.values()]
            for name, call in found.items()
            if not name.startswith("_") and name != "after_fork"
        }

    assert calls(one) == calls(other)


def test_all_that_is_public_has_words() -> None:
    for name in tallymark.__all__:
        public = getattr(tallymark, name)
        assert inspect.getdoc(public), name
        for member, value in vars(public).items():
            assert (
                member.startswith("_")
                or not isinstance(value, FunctionType)
                or member == "after_fork"
                or value.__doc__
            ), member


def test_it_brings_nothing_of_the_pipeline() -> None:
    others = ["pipeline", "faust", "confluent_kafka", "aiokafka", "msgspec", "orjson"]
    script = f"import sys, tallymark; print([name for name in {others} if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(HOME / "src")}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.services  # of mypy, which takes as long as a hundred other tests
def test_types(tmp_path: Path) -> None:
    examples = [tmp_path / f"example_{number}.py" for number, _ in enumerate(EXAMPLES)]
    for path, example in zip(examples, EXAMPLES, strict=True):
        path.write_text(example)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--cache-dir",
        str(tmp_path),
        "--config-file",
        "/dev/null",
    ]
    environment = os.environ | {"MYPYPATH": str(HOME / "src")}
    command += [str(HOME / "src" / "tallymark"), *(str(example) for example in examples)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_run(
    example: str,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    meter = {"slug": "cost", "eventType": "prompt", "aggregation": "SUM"}
    row = {"value": "0.10", "windowStart": None, "windowEnd": None, "groupBy": {"model": "small"}}
    if "meters.create" in example:
        taken = Turn(200, {"accepted": 1, "warnings": []}, take=True)
        server.then(Turn(201, meter), taken, Turn(200, {"data": [row]}))
    if "meters.list" in example:
        server.then(Turn(200, {"accepted": 1, "warnings": []}, take=True), Turn(200, [meter]))
    exec(compile(example.replace("http://127.0.0.1:8888", server.url), "example", "exec"), {})
    assert server.stored
    assert ("query" in example) == ("small 0.10" in capsys.readouterr().out)
