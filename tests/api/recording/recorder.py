"""Requests with their answers, one file for each operation of the OpenAPI document.

Owns: sending a request and keeping what came back, what of an answer is left to chance, the files. Does not own: which
requests there are.

The clock of the test process stands still and moves by one second for each request; each request that changes
something has an Idempotency-Key. So identifiers and instants are the same in every run. What is random all the same
(secrets, identifiers of keys, hashes over those) is replaced by a text of the same form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from fastapi.testclient import TestClient
from msgspec import UNSET, Raw, UnsetType

from pipeline.api.http.described import SHARED
from pipeline.contracts import ROOT

FOLDER = Path(__file__).parents[1] / "recorded"
EXAMPLES = ROOT / "pipeline/api/examples.json"
_SHARED_REASONS = frozenset(SHARED.values())
SHOWN_HEADERS = ("www-authenticate", "idempotent-replayed", "tallymark-warnings", "preference-applied")
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
_LONG = 4096  # bytes of a body that a file may hold
_CHANCE = (
    (re.compile(r"um_live_[0-9A-Za-z]{8}_[0-9A-Za-z]+_[0-9A-Za-z]+"), "um_live_00000000_" + "0" * 43 + "_000000"),
    (re.compile(r"whsec_[0-9A-Za-z+/=]{20,}"), "whsec_" + "A" * 43 + "="),
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"), "eyJhbGciOiJIUzI1NiJ9.e30.AA"),
    (re.compile(r'(?<=")[0-9a-f]{64}(?=")'), "0" * 64),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:9092"),
)  # fmt: skip


class Asked(msgspec.Struct, omit_defaults=True):
    """A request. key: who sends it, by the name of a key of the world; body: JSON, or the text of another body."""

    method: str
    path: str
    key: str = ""
    headers: dict[str, str] = {}
    body: Raw | UnsetType = UNSET


class Answered(msgspec.Struct, omit_defaults=True):
    """An answer. body: JSON, or the text of another body; absent where there is none."""

    status: int
    content_type: str = ""
    headers: dict[str, str] = {}
    body: Raw | UnsetType = UNSET


class Exchange(msgspec.Struct):
    """One request and its answer. name: what is shown by it, a sentence without its end."""

    name: str
    request: Asked
    answer: Answered


class Recorder:
    """Asks the API and keeps what came back, by operation."""

    def __init__(self, api: TestClient, keys: Mapping[str, str], tick: Callable[[], None]) -> None:
        self.exchanges: dict[str, list[Exchange]] = {}
        self._api = api
        self._keys = keys
        self._tick = tick
        self._number = 0
        self._hidden: dict[str, str] = {}

    def ask(
        self,
        operation: str,
        name: str,
        path: str,
        body: object = None,
        *,
        key: str = "admin",
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        api: TestClient | None = None,
    ) -> Any:
        """The JSON of the answer, or its text.

        Args:
            operation: as in OpenAPI, with the method before the path.
            path: as sent, with the query.
            body: JSON to send; None for none.
            key: who asks; empty for no key.
            content: the bytes of a body that is no JSON.
            headers: further headers.
            api: another app than the usual one.
        """
        method = operation.split(maxsplit=1)[0]
        self._tick()
        self._number += 1
        sent = dict(headers or {})
        if method in CHANGING:
            sent.setdefault("idempotency-key", f"{self._number:04}")
        if body is not None:
            content = json.dumps(body).encode()
            sent.setdefault("content-type", "application/json")
        asked = Asked(method, path, key, dict(sent), _body(content))
        if key:
            sent["authorization"] = f"Bearer {self._keys[key]}"
        sent["x-request-id"] = f"request-{self._number:04}"
        response = (api or self._api).request(
            method, f"http://testserver{path}", content=content, headers=sent
        )
        self.exchanges.setdefault(operation, []).append(
            Exchange(name, self._plain(asked), self._answer(response))
        )
        is_json = "json" in response.headers.get("content-type", "")
        return response.json() if is_json else response.text

    def answer(self, method: str, path: str, body: object, headers: Mapping[str, str]) -> tuple[int, Any]:
        """Status and body of an answer to the admin that is not recorded; the clock stays."""
        sent = {"authorization": f"Bearer {self._keys['admin']}", **headers}
        response = self._api.request(method, f"http://testserver{path}", json=body, headers=sent)
        is_json = "json" in response.headers.get("content-type", "")
        return response.status_code, response.json() if is_json else response.text

    def send(self, method: str, path: str, content_type: str, content: bytes | None) -> Any:
        """The response to the admin, which is not recorded."""
        headers = {"authorization": f"Bearer {self._keys['admin']}"}
        if content_type:
            headers["content-type"] = content_type
        return self._api.request(method, f"http://testserver{path}", content=content, headers=headers)

    def hide(self, text: str, instead: str) -> None:
        """From here on a text of chance is recorded as another one."""
        self._hidden[text] = instead

    def rewrite(self, operation: str) -> None:
        """Hides what is known by now in the newest record of an operation too."""
        last = self.exchanges[operation][-1]
        answer = msgspec.structs.replace(last.answer, body=self._normal_body(last.answer.body))
        self.exchanges[operation][-1] = Exchange(last.name, self._plain(last.request), answer)

    def _plain(self, asked: Asked) -> Asked:
        return msgspec.structs.replace(
            asked,
            path=self._normal(asked.path),
            headers={name: self._normal(value) for name, value in asked.headers.items()},
            body=self._normal_body(asked.body),
        )

    def _answer(self, response: Any) -> Answered:
        shown = {name: response.headers[name] for name in SHOWN_HEADERS if name in response.headers}
        content_type = response.headers.get("content-type", "")
        if not response.text:
            return Answered(response.status_code, content_type, shown)
        text = response.text if "json" in content_type else json.dumps(response.text)
        return Answered(response.status_code, content_type, shown, self._normal_body(Raw(text.encode())))

    def _normal_body(self, body: Raw | UnsetType) -> Raw | UnsetType:
        return UNSET if body is UNSET else Raw(self._normal(bytes(body).decode()).encode())

    def _normal(self, text: str) -> str:
        for found, instead in self._hidden.items():
            text = text.replace(found, instead)
        for pattern, instead in _CHANCE:
            text = pattern.sub(instead, text)
        return text


def _body(content: bytes | None) -> Raw | UnsetType:
    if not content:
        return UNSET
    if len(content) > _LONG:
        return Raw(json.dumps(f"{len(content)} bytes").encode())
    try:
        json.loads(content)
    except ValueError:
        return Raw(json.dumps(content.decode("latin-1")).encode())
    return Raw(content)


def file_of(operation: str) -> Path:
    """Where an operation's record is."""
    method, path = operation.split()
    words = re.sub(r"[{}]", "", path.removeprefix("/api/")).replace("/", "-")
    return FOLDER / f"{words}.{method.lower()}.json"


def text_of(operation: str, exchanges: list[Exchange]) -> str:
    """The text of a record."""
    whole = msgspec.json.encode({"operation": operation, "exchanges": exchanges})
    return msgspec.json.format(whole, indent=1).decode() + "\n"


def exact(text: str) -> Any:
    """JSON whose numbers keep all their digits."""
    return json.loads(text, parse_float=Decimal)


def save(exchanges: Mapping[str, list[Exchange]]) -> None:
    """Write every record, and remove those of operations that there are no more."""
    FOLDER.mkdir(exist_ok=True)
    files = {file_of(operation): text_of(operation, found) for operation, found in exchanges.items()}
    for old in set(FOLDER.glob("*.json")) - set(files):
        old.unlink()
    for path, text in files.items():
        path.write_text(text, "utf-8")
    EXAMPLES.write_text(examples_text(), "utf-8")


def examples_text() -> str:
    """The text of the file of examples, from the records as they are in their files."""
    found = {json.loads(path.read_text("utf-8"))["operation"]: json.loads(path.read_text("utf-8"))["exchanges"]
             for path in sorted(FOLDER.glob("*.json"))}  # fmt: skip
    return json.dumps(examples(found), indent=1, ensure_ascii=False) + "\n"


def examples(recorded: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """What OpenAPI shows, from the records: a body that was accepted, and the answer to what succeeded."""
    shown: dict[str, Any] = {"refusals": {}}
    for operation, exchanges in recorded.items():
        found: dict[str, dict[str, Any]] = {"bodies": {}, "answers": {}}
        for one in sorted(exchanges, key=_size_of_list):
            asked, answer = one["request"], one["answer"]
            body, reason = answer.get("body"), _reason(answer)
            if reason in _SHARED_REASONS:
                shown["refusals"].setdefault(reason, body)
            if not reason and "json" in answer.get("content_type", ""):
                found["answers"].setdefault(str(answer["status"]), body)
            if not reason and "body" in asked:
                found["bodies"].setdefault(asked["headers"]["content-type"], asked["body"])
        shown[operation] = {name: members for name, members in found.items() if members}
    return shown


def _size_of_list(exchange: Mapping[str, Any]) -> int:
    """The shortest list that is not empty comes first; of other answers the first."""
    body = exchange["answer"].get("body")
    listed = body.get("items", body.get("data")) if isinstance(body, dict) else body
    return 0 if not isinstance(listed, list) else len(json.dumps(listed)) if listed else 1_000_000


def _reason(answer: Mapping[str, Any]) -> str:
    body = answer.get("body")
    return (
        str(body["reason"]) if answer["status"] >= 400 and isinstance(body, dict) and "reason" in body else ""
    )


@cache
def _read(path: Path, written_ns: int) -> Any:
    """A file's content, read again when it has been written. Not to be changed."""
    return exact(path.read_text("utf-8"))


def stored() -> dict[str, list[dict[str, Any]]]:
    """The records as they are in the files: each operation's exchanges."""
    found = (_read(path, path.stat().st_mtime_ns) for path in sorted(FOLDER.glob("*.json")))
    return {one["operation"]: one["exchanges"] for one in found}
