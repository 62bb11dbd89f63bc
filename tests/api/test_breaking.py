"""The API breaks no client of the released one, and what would break one is found."""

from __future__ import annotations

import copy
import enum
import json
import shutil
import subprocess
from typing import Any

import pytest

from pipeline.contracts import ROOT
from tests.api.breaking import NEW, RELEASED, breaking, main, shape

OLD: dict[str, Any] = {
    "paths": {
        "/things": {
            "post": {
                "parameters": [
                    {"in": "query", "name": "page", "schema": {"type": "integer", "maximum": 10}},
                    {"in": "query", "name": "order", "schema": {"enum": ["ASC", "DESC"]}},
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Asked"}},
                        "text/plain": {"schema": {"type": "string"}},
                    },
                },
                "responses": {
                    "200": {
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Answered"}}}
                    },
                    "404": {"content": {"application/problem+json": {"schema": {"enum": ["a"]}}}},
                },
            }
        }
    },
    "components": {
        "schemas": {
            "Asked": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "maxLength": 10},
                    "amount": {"anyOf": [{"type": "number"}, {"type": "string"}]},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Asked"}},
                },
                "additionalProperties": False,
            },
            "Answered": {
                "type": "object",
                "required": ["id"],
                "properties": {
                    "id": {"type": "string"},
                    "state": {"enum": ["on", "off"]},
                    "until": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                },
                "additionalProperties": False,
            },
        }
    },
}
POST = ("paths", "/things", "post")
ASKED, ANSWERED = ("components", "schemas", "Asked"), ("components", "schemas", "Answered")
REMOVED = enum.Enum(
    "Marker", ["REMOVED"]
).REMOVED  # the same text in each process, for the names of the tests
BREAKING: list[tuple[tuple[str | int, ...], object, str]] = [
    (("paths", "/things"), REMOVED, "POST /things is removed"),
    ((*POST, "parameters", 0), REMOVED, "the parameter query page is removed"),
    ((*POST, "parameters", 0, "required"), True, "the parameter query page is required"),
    ((*POST, "parameters", 0, "schema", "type"), "boolean", "the type integer is refused"),
    ((*POST, "parameters", 0, "schema", "maximum"), 9, "maximum is 9"),
    ((*POST, "parameters", 1, "schema", "enum"), ["ASC"], "the value 'DESC' is refused"),
    (
        (*POST, "parameters", 0),
        {"in": "query", "name": "new", "required": True, "schema": {}},
        "new and required",
    ),
    ((*POST, "requestBody"), REMOVED, "the body is removed"),
    ((*POST, "requestBody", "content", "text/plain"), REMOVED, "the body is no longer text/plain"),
    ((*POST, "responses", "404"), REMOVED, "the status 404 is removed"),
    ((*POST, "responses", "202"), {}, "the status 202 is new"),
    ((*ASKED, "required"), ["name", "amount"], "the body.amount is required"),
    ((*ASKED, "properties", "amount"), REMOVED, "the body.amount is removed"),
    (
        (*ASKED, "properties", "amount", "anyOf"),
        [{"type": "string"}],
        'a form is refused: {"type": "number"}',
    ),
    ((*ASKED, "properties", "name", "maxLength"), 9, "the body.name: maxLength is 9"),
    ((*ASKED, "properties", "name", "minLength"), 1, "the body.name: minLength is 1"),
    ((*ASKED, "properties", "name", "pattern"), "a", "the pattern is a"),
    ((*ASKED, "properties", "name", "enum"), ["a"], "the body.name: only a are accepted"),
    ((*ANSWERED, "required"), [], "the answer 200.id may be absent"),
    ((*ANSWERED, "properties", "id"), REMOVED, "the answer 200.id is removed"),
    ((*ANSWERED, "properties", "id", "type"), ["string", "null"], "the type null is new"),
    ((*ANSWERED, "properties", "state", "enum"), ["on", "off", "broken"], "the value 'broken' is new"),
    ((*ANSWERED, "properties", "state"), {"type": "string"}, "no longer all"),
    (
        (*ANSWERED, "properties", "until", "anyOf", 1),
        {"type": "number"},
        'there is a new form: {"type": "number"}',
    ),
]
HARMLESS: list[tuple[tuple[str | int, ...], object]] = [
    (("paths", "/others"), {"get": {"responses": {}}}),
    ((*POST, "parameters", 0, "schema", "maximum"), 11),
    ((*POST, "parameters", 0, "schema", "type"), "number"),
    ((*POST, "requestBody", "required"), False),
    ((*POST, "responses", "404", "content", "application/problem+json", "schema"), {"enum": ["a", "b"]}),
    ((*POST, "responses", "409"), {}),
    ((*ASKED, "required"), []),
    ((*ASKED, "properties", "new"), {"type": "string"}),
    ((*ASKED, "properties", "name", "maxLength"), 11),
    ((*ASKED, "properties", "name", "description"), "words"),
    ((*ANSWERED, "properties", "new"), {"type": "string"}),
    ((*ANSWERED, "required"), ["id", "state"]),
    ((*ANSWERED, "properties", "state", "enum"), ["on"]),
    ((*ANSWERED, "properties", "until"), {"type": "string"}),
]


def changed(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    made = copy.deepcopy(OLD)
    place: Any = made
    for step in path[:-1]:
        place = place[step]
    if value is REMOVED:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return made


@pytest.mark.parametrize(("path", "value", "why"), BREAKING, ids=lambda part: str(part)[:60])
def test_what_breaks_is_found(path: tuple[str | int, ...], value: object, why: str) -> None:
    found = breaking(OLD, changed(path, value))
    assert any(why in sentence for sentence in found), found


@pytest.mark.parametrize(("path", "value"), HARMLESS, ids=lambda part: str(part)[:60])
def test_what_breaks_nothing_is_not_named(path: tuple[str | int, ...], value: object) -> None:
    assert breaking(OLD, changed(path, value)) == []


def test_the_api_breaks_no_client_of_the_released_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0, capsys.readouterr().out


def test_the_released_document_is_that_of_the_last_tag() -> None:
    """Where there is one: a release writes the copy, nothing else does."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    tags = _git(git, "tag", "--list", "v*", "--sort=-v:refname").stdout.split()
    if not tags:
        pytest.skip("there is no release yet")
    tag = tags[0]
    shown = _git(git, "show", f"{tag}:schemas/openapi.json")
    if shown.returncode:
        pytest.skip(f"{tag} is not in this clone")
    assert json.loads(RELEASED.read_text("utf-8")) == shape(json.loads(shown.stdout))


def _git(git: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([git, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_document_breaks_nothing_of_itself() -> None:
    new = json.loads(NEW.read_text("utf-8"))
    assert breaking(new, new) == []
