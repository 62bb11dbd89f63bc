"""The OpenAPI document as it is in `schemas/`: its operations, and whether a body or an answer is valid by it.

Owns: finding the schema of an answer. Does not own: any test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from pipeline.contracts import ROOT

DOCUMENT: dict[str, Any] = json.loads((ROOT / "schemas/openapi.json").read_text("utf-8"))


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each operation with its name, as `POST /api/v1/events`."""
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


OPERATIONS = dict(operations())


def wrong_answer(operation: str, status: int, content_type: str, body: Any) -> str:
    """Why an answer is not valid by the document; empty where it is. body: JSON, or None for an empty body."""
    responses = OPERATIONS[operation]["responses"]
    if str(status) not in responses and status < 500:
        return f"status {status} is not in the document"
    content = _resolved(responses.get(str(status), responses["default"])).get("content", {})
    media_type = content_type.partition(";")[0]
    if body is None:
        return "" if not content else "the body is missing"
    if media_type not in content:
        return f"content type {media_type!r} is not in the document"
    return wrong(content[media_type]["schema"], body)


def wrong(schema: dict[str, Any], value: Any) -> str:
    """Why a value is not valid by a schema of the document; empty where it is."""
    errors = sorted(_validator(json.dumps(schema)).iter_errors(value), key=lambda error: -len(error.path))
    return "; ".join(f"{error.json_path}: {error.message[:300]}" for error in errors[:3])


@cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator({**json.loads(schema), "components": DOCUMENT["components"]})


def _resolved(found: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in found:
        place: Any = DOCUMENT
        for step in found["$ref"].removeprefix("#/").split("/"):
            place = place[step]
        found = place
    return found


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """What a reference refers to."""
    return _resolved(schema)
