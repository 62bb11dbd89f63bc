"""What the API's answers mean to a command, from a server that answers as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.cli.http import ApiAnswer, ask, authorization, json_of
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.local.process import free_port
from pipeline.settings import Settings


class Server(ThreadingHTTPServer):
    """Answers every request with `status`, `body` and `headers`, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.body = 200, b"[1]"
        self.headers: dict[str, str] = {"content-type": "application/json"}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def settings(self) -> Settings:
        return Settings.model_construct(api_url=f"http://127.0.0.1:{self.server_port}/", api_key_file="")

    def answer(self, status: int, body: Any) -> None:
        self.status, self.body = status, body if isinstance(body, bytes) else json.dumps(body).encode()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.command, self.path, headers, self.rfile.read(length)))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.chdir(tmp_path)  # without a key of this folder
    found = Server()
    thread = threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


def test_a_good_answer_and_what_was_asked(server: Server) -> None:
    server.headers["content-type"] = "text/csv; charset=utf-8"
    params = [("groupBy", "a"), ("groupBy", "b c&d"), ("all", True), ("limit", 5), ("none", None)]
    answer = ask(server.settings, "GET", "/meters/x", params=params, accept="text/csv")
    assert (answer.content_type, answer.content, answer.text) == ("text/csv; charset=utf-8", b"[1]", "[1]")
    ((method, path, headers, body),) = server.asked
    assert (method, path) == ("GET", "/api/v1/meters/x?groupBy=a&groupBy=b+c%26d&all=true&limit=5&none=")
    assert (headers["accept"], body) == ("text/csv", b"")
    assert "authorization" not in headers and "content-type" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_body_keeps_every_digit(server: Server, method: str) -> None:
    amount = Decimal("123456789012345.000000000000000001")
    ask(server.settings, method, "/grants", json={"amount": amount, "name": "é"}, version=2)
    ((asked, path, headers, body),) = server.asked
    assert (asked, path, headers["content-type"]) == (method, "/api/v2/grants", "application/json")
    assert body == '{"amount":123456789012345.000000000000000001,"name":"é"}'.encode()


def test_an_answer_keeps_every_digit() -> None:
    assert json_of(ApiAnswer("", b'{"a": 0.10, "b": 1e-18, "c": 7}')) == {
        "a": Decimal("0.10"),
        "b": Decimal("1e-18"),
        "c": 7,
    }


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff", b"[" * 100_000, b'{"a": NaN}'])
def test_what_is_no_json_is_broken(content: bytes) -> None:
    with pytest.raises(Broken, match="not that of Tallymark's API"):
        json_of(ApiAnswer("application/json", content))


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Rejected), (404, Rejected), (409, Rejected), (503, Unavailable), (500, Broken)],
)
def test_a_problem_keeps_its_sentence(server: Server, status: int, error: type[Exception]) -> None:
    server.answer(status, {"reason": "why", "detail": "So it is."})
    with pytest.raises(error, match=r"^So it is\.$") as raised:
        ask(server.settings, "GET", "/meters")
    assert not isinstance(raised.value, Rejected) or raised.value.reason == "why"


@pytest.mark.parametrize("status", [404, 502, 503])
@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b"[" * 100_000])
def test_the_answer_of_another_server_is_broken(server: Server, status: int, body: bytes) -> None:
    server.answer(status, body)
    with pytest.raises(Broken, match=str(status)):
        ask(server.settings, "GET", "/meters")


def test_a_redirect_is_not_followed(server: Server) -> None:
    server.answer(302, b"")
    server.headers["location"] = f"http://127.0.0.1:{server.server_port}/elsewhere"
    with pytest.raises(Broken, match="302"):
        ask(server.settings, "GET", "/meters")
    assert len(server.asked) == 1


def test_nothing_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable, match=rf"{url} does not answer \(.*refused.*\)"):
        ask(Settings.model_construct(api_url=url), "GET", "/meters")


@pytest.mark.parametrize("url", ["http://127.0.0.1:many", "http://a b/"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises((Rejected, Unavailable)):
        ask(Settings.model_construct(api_url=url), "GET", "/meters")


def test_the_key_that_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here, far = "http://127.0.0.1:1", "https://meters.example"
    assert authorization(Settings(api_url=here)) == {}
    (tmp_path / ".tallymark").mkdir()
    (tmp_path / ".tallymark/admin.key").write_text("local\n")
    (tmp_path / "mine").write_text("mine\n")
    assert authorization(Settings(api_url=here)) == {"authorization": "Bearer local"}
    assert authorization(Settings(api_url=far)) == {}  # the key of this machine's stack stays here
    assert authorization(Settings(api_url=far, api_key_file="mine")) == {"authorization": "Bearer mine"}
    given = Settings(api_url=far, api_key=SecretStr("mine-too"))
    assert authorization(given) == {"authorization": "Bearer mine-too"}
    with pytest.raises(Rejected, match="api_key_file: nothing cannot be read"):
        authorization(Settings(api_url=far, api_key_file="nothing"))
    with pytest.raises(Rejected, match="api_key"):
        authorization(Settings(api_url=far, api_key=SecretStr("two\r\nlines: 1")))
