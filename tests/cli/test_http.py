"""What the API's answers mean to a command."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from pipeline.cli.http import ask, authorization
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.settings import Settings

SETTINGS = Settings.model_construct(api_url="http://meters.example/")


def answer(status: int, **body: object) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(status, json=body))


def test_a_good_answer_and_what_was_asked() -> None:
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=[1])

    params: list[tuple[str, str | int | float | bool | None]] = [("groupBy", "a"), ("groupBy", "b")]
    response = ask(
        SETTINGS, "GET", "/meters/x", params=params, accept="text/csv", transport=httpx.MockTransport(handle)
    )
    assert response.json() == [1]
    assert str(asked[0].url) == "http://meters.example/api/v1/meters/x?groupBy=a&groupBy=b"
    assert asked[0].headers["accept"] == "text/csv"


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Rejected), (404, Rejected), (409, Rejected), (503, Unavailable), (500, Broken)],
)
def test_a_problem_keeps_its_sentence(status: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^So it is\.$") as raised:
        ask(SETTINGS, "GET", "/meters", transport=answer(status, reason="why", detail="So it is."))
    assert not isinstance(raised.value, Rejected) or raised.value.reason == "why"


@pytest.mark.parametrize("status", [404, 502, 503])
def test_somebody_elses_answer_is_broken(status: int) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text="<html>"))
    with pytest.raises(Broken, match=str(status)):
        ask(SETTINGS, "GET", "/meters", transport=transport)


def test_nobody_answers() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("", request=request)

    with pytest.raises(Unavailable, match=r"http://meters\.example/ does not answer"):
        ask(SETTINGS, "GET", "/meters", transport=httpx.MockTransport(handle))


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
    said = Settings(api_url=far, api_key=SecretStr("said"), api_key_file="mine")
    assert authorization(said) == {"authorization": "Bearer said"}
    with pytest.raises(Rejected, match="api_key_file: nothing cannot be read"):
        authorization(Settings(api_url=far, api_key_file="nothing"))
