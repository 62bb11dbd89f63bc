"""Requests made from the schemas of OpenAPI: sound ones, and such as are wrong in one place.

Owns: the strategies. Does not own: what an answer has to be (tests/api/test_recorded.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from hypothesis import strategies as st

from tests.api.openapi import OPERATIONS, resolved
from tests.api.recording.parameters import VALUES

Strategy = st.SearchStrategy[Any]
# What there is in the recorded world, so that many requests find something.
KNOWN = ("acme", "acme-prod", "acme-test", "tokens", "calls", "users", "gpt_4_tokens", "seats", "sso", "model", "src",
         "id1",
         "prompt", "2026-01-15", "2026-01-15T13:30:00Z", "P1M", "MONTH", "Europe/Berlin", "10", "nothing")  # fmt: skip
IN_PATH = {
    "customerIdOrKey": ("acme",),
    "subjectIdOrKey": ("acme-prod",),
    "entitlementIdOrFeatureKey": ("gpt_4_tokens", "seats", "sso"),
    "featureKey": ("gpt_4_tokens", "seats"),
    "featureId": ("gpt_4_tokens", "sso"),
    **dict.fromkeys(("idOrSlug", "meterIdOrSlug", "meterSlug", "slug"), ("tokens", "calls", "users")),
    "key": ("model", "kind"),
    "source": ("src",),
    "id": ("id1", "id2", "broken"),
}
WRONG: tuple[Any, ...] = (None, True, -1, 1.5, "", "zz", [], {}, [None], {"zz": 1}, "\x00", "a" * 3000)
WAITING = ("wait_s",)  # a request that waits for workers that there are not


class Sent(NamedTuple):
    """One request. path: with its query, percent-encoded."""

    operation: str
    path: str
    content_type: str
    body: bytes | None


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    """A request to any operation."""
    operation = draw(st.sampled_from(sorted(OPERATIONS)))
    described = OPERATIONS[operation]
    path, query = operation.split()[1], []
    for one in described.get("parameters", []):
        if one["in"] == "path":
            known = IN_PATH.get(one["name"], KNOWN)
            path = path.replace("{" + one["name"] + "}", quote(draw(words(known)), safe=""))
        elif one["in"] == "query" and (one["name"] in WAITING or draw(st.integers(0, 3)) == 0):
            value = "0" if one["name"] in WAITING else draw(parameter(one["name"], one["schema"]))
            query.append((one["name"], value))
    content_type, body = "", None
    if "requestBody" in described:
        content_type, media = draw(
            st.sampled_from(sorted(described["requestBody"]["content"].items(), key=str))
        )
        value = draw(values(media["schema"]))
        body = json.dumps(draw(bent(value)) if draw(st.booleans()) else value).encode()
    return Sent(operation, path + ("?" + urlencode(query) if query else ""), content_type, body)


def words(known: Sequence[str] = KNOWN) -> Strategy:
    """A text of which much exists."""
    named = st.sampled_from(known)
    return st.one_of(named, named, named, st.text(min_size=1, max_size=8).filter(_encodes))


def parameter(name: str, schema: Mapping[str, Any]) -> Strategy:
    """A value of a query parameter, as text."""
    known = st.sampled_from(VALUES.get(name, KNOWN))
    return (
        known
        | words()
        | values(schema).map(lambda value: value if isinstance(value, str) else json.dumps(value))
    )


def values(schema: Mapping[str, Any]) -> Strategy:
    """A value that is valid by a schema, but for patterns of more than letters."""
    found = resolved(dict(schema))
    if "const" in found:
        return st.just(found["const"])
    if "enum" in found:
        return st.sampled_from(found["enum"])
    if forms := found.get("anyOf") or found.get("oneOf"):
        return st.one_of([values(one) for one in forms])
    kind = found.get("type", "string")
    if isinstance(kind, list):
        return st.one_of([values({**found, "type": one}) for one in kind])
    return _of_type(kind, found)


def _of_type(kind: str, schema: Mapping[str, Any]) -> Strategy:
    if kind == "object":
        return _objects(schema)
    if kind == "array":
        return st.lists(values(schema.get("items", {})), min_size=schema.get("minItems", 0), max_size=3)
    if kind == "integer":
        return st.integers(schema.get("minimum", -(2**31)), schema.get("maximum", 2**31))
    if kind == "number":
        return st.integers(-1000, 10**9) | st.decimals(0, 10**6, places=3).map(float)
    if kind == "boolean":
        return st.booleans()
    if kind == "null":
        return st.none()
    return (
        words()
        if not schema.get("pattern")
        else st.from_regex(schema["pattern"], fullmatch=True).filter(_encodes)
    )


@st.composite
def _objects(draw: st.DrawFn, schema: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    required = schema.get("required", ())
    for name, member in schema.get("properties", {}).items():
        if not resolved(member).get("readOnly") and (name in required or draw(st.booleans())):
            found[name] = draw(values(member))
    free = schema.get("additionalProperties")
    if isinstance(free, dict):
        found |= draw(st.dictionaries(words(), values(free), max_size=2))
    return found


@st.composite
def bent(draw: st.DrawFn, value: Any) -> Any:
    """The value with something else at one place, or with one more member."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        name = draw(st.sampled_from(sorted(value)))
        return {**value, name: draw(bent(value[name]))}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        return [draw(bent(value[0])), *value[1:]]
    if isinstance(value, dict) and draw(st.booleans()):
        return {**value, "zz": 1}
    return draw(st.sampled_from(WRONG))


def _encodes(text: str) -> bool:
    """Whether a text can be sent at all: half of a surrogate pair cannot, and clients take dots out of a path."""
    return text not in (".", "..") and not any(0xD800 <= ord(character) < 0xE000 for character in text)
