"""Hostile files and answers for every command: one sentence and an exit code, never a traceback.

The commands come from the command line itself, so that a new one is tried by itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pipeline.cli.main import PROCESSES, main
from tests.fixtures.hostile_json import TEXTS

pytestmark = pytest.mark.services  # it takes seconds

NOT_OF_THE_API = {"rebuild", *PROCESSES, "listen", "send", "settings", "topics"}
# Each answer for every fifth command in CI and every twentieth elsewhere, other ones for each answer.
# TALLYMARK_TESTS_ALL=1: for all commands.
SHARE = 1 if os.environ.get("TALLYMARK_TESTS_ALL") == "1" else 5 if os.environ.get("CI") else 20
SHAPES = {
    "null": b"null",
    "number": b"1",
    "text": b'"x"',
    "list": b"[]",
    "list of numbers": b"[1]",
    "object": b"{}",
    "items": b'{"items":1,"data":[{}],"meters":{}}',
    "an exponent": b'{"items":[{"id":1e99}],"data":[{"value":1e99}]}',
}


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def takes_file(command: click.Command) -> bool:
    return any(isinstance(param.type, click.File) for param in command.params)


def words(path: tuple[str, ...], command: click.Command, file: str) -> list[str]:
    """The command with something in each place that it needs."""
    given = [*path]
    for param in command.params:
        text = file if isinstance(param.type, click.File) else "1"
        if isinstance(param.type, click.Choice):
            text = param.type.choices[0]
        if isinstance(param, click.Argument):
            given.append(text)
        elif param.required or isinstance(param.type, click.File):
            given += [param.opts[0], text]
    return given


WITH_FILE = [(path, command) for path, command in commands(main) if takes_file(command)]
ASKING = [(path, command) for path, command in commands(main) if path[0] not in NOT_OF_THE_API]


def failure(result: Result) -> str:
    """What is wrong with how a command ended; empty: nothing."""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"raised {result.exception!r}"
    lines = result.stderr.splitlines()
    if result.exit_code != 0 and not (
        len(lines) == 1 and lines[0].startswith("error: ") and len(lines[0]) < 600
    ):
        return f"ended with {result.exit_code} and {result.stderr[:200]!r}"
    return ""


def test_there_are_commands() -> None:
    assert {path for path, _ in WITH_FILE} >= {
        ("meters", "apply"),
        ("send",),
        ("customers", "create"),
        ("customers", "update"),
        ("subjects", "upsert"),
        ("features", "create"),
        ("rules", "create"),
        ("entitlements", "create"),
    }
    assert len(ASKING) > 30


@pytest.mark.parametrize(
    ("path", "command"), WITH_FILE, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_a_file_is_refused_in_one_sentence(
    path: tuple[str, ...], command: click.Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path == ("send",):
        pytest.skip("takes any line; see test_cli_user")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TALLYMARK_API_URL", "http://127.0.0.1:1")  # nothing may be sent
    wrong, tried = [], 0
    for kind, text in {**TEXTS, "too large": b" " * (1 << 20) + b"{}"}.items():
        if path == ("meters", "apply") and kind == "not JSON":
            continue  # it is TOML
        for name in ("given", "given.json", "-"):
            if name != "-":
                Path(name).write_bytes(text)
            result = CliRunner().invoke(main, words(path, command, name), input=text)
            tried += 1
            if (why := failure(result)) or result.exit_code != 2:
                wrong.append(f"{kind}, {name}: {why or result.exit_code}")
    print(f"{' '.join(path)}: {tried} files")
    assert wrong == []


class Answering:
    """A server that gives one answer to everything."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(outer.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            do_GET = do_POST = do_PUT = do_DELETE = _serve

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"


@pytest.fixture(scope="module")
def api() -> Iterator[Answering]:
    server = Answering()
    threading.Thread(target=server.http.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.mark.parametrize("status", [200, 400, 500, 503])
def test_an_answer_is_refused_in_one_sentence(
    api: Answering, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TALLYMARK_API_URL", api.url)
    Path("good.json").write_bytes(b'[{"slug": "a"}]')
    Path("object.json").write_bytes(b"{}")
    wrong, tried = [], 0
    for number, (kind, body) in enumerate({**TEXTS, **SHAPES}.items()):
        api.status, api.body = status, body
        for path, command in ASKING[(number + status) % SHARE :: SHARE]:
            file = "good.json" if path == ("meters", "apply") else "object.json"
            result = CliRunner().invoke(main, words(path, command, file))
            tried += 1
            if why := failure(result):
                wrong.append(f"{' '.join(path)}, {kind}: {why}")
    print(f"{status}: {tried} answers")
    assert wrong == []
