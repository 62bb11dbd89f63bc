"""Whether a client that was written for the released API still works: `python -m tests.api.breaking`.

Owns: comparing schemas/openapi.json with schemas/openapi.released.json, and writing the latter (`--release`, as a part
of a release). Does not own: what the document is (pipeline.contracts).

Breaking is what is removed (an operation, a parameter, a member, a status, a content type), what a request may no
longer be (a type narrowed, a value or a length refused, a member required) and what an answer was never before (a type
widened, a new value of a closed list, a member that may be absent). New operations, optional parameters and members of
answers, and new reasons of a refusal break nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.contracts import ROOT

NEW, RELEASED = ROOT / "schemas/openapi.json", ROOT / "schemas/openapi.released.json"
PROBLEM = "application/problem+json"
_WORDS = ("description", "example", "examples", "summary", "title", "info", "tags", "operationId")
_MOST = ("maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum")
_NONE = float("-inf")
_LEAST = {"minLength": 0, "minItems": 0, "minProperties": 0, "minimum": _NONE, "exclusiveMinimum": _NONE}
_ANY = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})

Schema = Mapping[str, Any]


def breaking(old: Schema, new: Schema) -> list[str]:
    """What breaks between two OpenAPI documents: a sentence each."""
    found: list[str] = []
    for path, item in old["paths"].items():
        for method, operation in item.items():
            name = f"{method.upper()} {path}"
            later = new["paths"].get(path, {}).get(method)
            if later is None:
                found.append(f"{name} is removed")
            else:
                found += [f"{name}: {why}" for why in Comparison(old, new).operation(operation, later)]
    return found


class Comparison:
    """Two documents, whose references are followed."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new
        self._open: set[tuple[str, str, bool]] = set()

    def operation(self, old: Schema, new: Schema) -> Iterator[str]:
        """What breaks in one operation."""
        yield from self._parameters(_parameters(old), _parameters(new))
        body, later_body = old.get("requestBody"), new.get("requestBody")
        if body is not None and later_body is None:
            yield "the body is removed"
        elif later_body is not None:
            if later_body.get("required") and not (body or {}).get("required"):
                yield "the body is required"
            yield from self._contents(
                "the body", (body or {}).get("content", {}), later_body["content"], True
            )
        yield from self._responses(old["responses"], new["responses"])

    def _parameters(self, old: Schema, new: Schema) -> Iterator[str]:
        for name, one in old.items():
            if name not in new:
                yield f"the parameter {name} is removed"
            else:
                if new[name].get("required") and not one.get("required"):
                    yield f"the parameter {name} is required"
                yield from self.schema(f"the parameter {name}", one["schema"], new[name]["schema"], True)
        for name in new:
            if name not in old and new[name].get("required"):
                yield f"the parameter {name} is new and required"

    def _responses(self, old: Schema, new: Schema) -> Iterator[str]:
        for status in old:
            if status not in new:
                yield f"the status {status} is removed"
        for status, one in new.items():
            response = _resolved(self._new, one)
            if status not in old:
                if status < "4":
                    yield f"the status {status} is new"
                continue
            before = _resolved(self._old, old[status]).get("content", {})
            yield from self._contents(f"the answer {status}", before, response.get("content", {}), False)

    def _contents(self, place: str, old: Schema, new: Schema, asked: bool) -> Iterator[str]:
        for name, one in old.items():
            if name not in new:
                yield f"{place} is no longer {name}"
            elif name != PROBLEM:
                yield from self.schema(place, one["schema"], new[name]["schema"], asked)

    def schema(self, place: str, old: Schema, new: Schema, asked: bool) -> Iterator[str]:
        """What breaks between two schemas. asked: of a request; else of an answer."""
        names = (old.get("$ref", ""), new.get("$ref", ""), asked)
        if names[0] and names[1]:
            if names in self._open:
                return
            self._open.add(names)
        befores, afters = list(_branches(self._old, old)), list(_branches(self._new, new))
        if len(befores) == len(afters) == 1:
            yield from self._one(place, befores[0], afters[0], asked)
            return
        wider, narrower = (afters, befores) if asked else (befores, afters)
        for branch in narrower:
            pairs = [(branch, one) if asked else (one, branch) for one in wider]
            if all(list(Comparison(self._old, self._new)._one(place, *pair, asked)) for pair in pairs):
                yield f"{place}: {'a form is refused' if asked else 'there is a new form'}: {_short(branch)}"

    def _one(self, place: str, old: Schema, new: Schema, asked: bool) -> Iterator[str]:
        before, after = _types(old), _types(new)
        if lost := (before - after if asked else after - before):
            yield f"{place}: the type {min(lost)} is {'refused' if asked else 'new'}"
            return
        yield from _values(place, old, new, asked)
        if asked:
            yield from _bounds(place, old, new)
        yield from self._members(place, old, new, asked)
        if "items" in old and "items" in new:
            yield from self.schema(f"{place}[]", old["items"], new["items"], asked)

    def _members(self, place: str, old: Schema, new: Schema, asked: bool) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name, one in before.items():
            if name in after:
                yield from self.schema(f"{place}.{name}", one, after[name], asked)
            elif "object" in _types(new):
                yield f"{place}.{name} is removed"
        required, later = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted(later - required if asked else (required - later) & set(after)):
            yield f"{place}.{name} is required" if asked else f"{place}.{name} may be absent"
        free, later_free = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if asked and free is not False and later_free is False:
            yield f"{place}: members that are not listed are refused"
        if isinstance(free, dict) and isinstance(later_free, dict):
            yield from self.schema(f"{place}.*", free, later_free, asked)


def _parameters(operation: Schema) -> dict[str, Schema]:
    return {f"{one['in']} {one['name']}": one for one in operation.get("parameters", [])}


def _resolved(document: Schema, found: Schema) -> Schema:
    while "$ref" in found:
        place: Any = document
        for step in found["$ref"].removeprefix("#/").split("/"):
            place = place[step]
        found = place
    return found


def _branches(document: Schema, schema: Schema) -> Iterator[Schema]:
    """The forms that a value may have."""
    found = _resolved(document, schema)
    forms = found.get("anyOf") or found.get("oneOf")
    if not forms:
        yield found
    for form in forms or ():
        yield from _branches(document, form)


def _types(schema: Schema) -> frozenset[str]:
    if "type" not in schema:
        listed = schema.get("enum", [schema["const"]] if "const" in schema else None)
        return _ANY if listed is None else frozenset(_type(one) for one in listed)
    named = schema["type"]
    found = frozenset([named] if isinstance(named, str) else named)
    return found | {"integer"} if "number" in found else found


def _type(value: object) -> str:
    return {str: "string", bool: "boolean", int: "integer", type(None): "null"}.get(type(value), "number")


def _values(place: str, old: Schema, new: Schema, asked: bool) -> Iterator[str]:
    """A closed list of values."""
    before, after = _listed(old), _listed(new)
    narrow, wide = (after, before) if asked else (before, after)
    if narrow is None:
        return
    if wide is None:
        yield f"{place}: only {', '.join(sorted(map(str, narrow)))} are " + (
            "accepted" if asked else "no longer all"
        )
        return
    for value in wide:
        if value not in narrow:
            yield f"{place}: the value {value!r} is {'refused' if asked else 'new'}"


def _listed(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _bounds(place: str, old: Schema, new: Schema) -> Iterator[str]:
    for word in _MOST:
        if word in new and new[word] < old.get(word, float("inf")):
            yield f"{place}: {word} is {new[word]}"
    for word, usual in _LEAST.items():
        if word in new and new[word] > old.get(word, usual):
            yield f"{place}: {word} is {new[word]}"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"{place}: the pattern is {new['pattern']}"


def _short(schema: Schema) -> str:
    return json.dumps(shape(schema))[:80]


def shape(document: Any) -> Any:
    """A document without its words and examples."""
    if isinstance(document, list):
        return [shape(one) for one in document]
    if not isinstance(document, dict):
        return document
    return {
        name: {inner: shape(one) for inner, one in value.items()} if name == "properties" else shape(value)
        for name, value in document.items()
        if name not in _WORDS
    }


def main(arguments: list[str]) -> int:
    """Prints what breaks; `--release` makes the present document the released one."""
    new = json.loads(NEW.read_text("utf-8"))
    if arguments == ["--release"]:
        RELEASED.write_text(json.dumps(shape(new), indent=1, sort_keys=True) + "\n", "utf-8")
        return 0
    found = breaking(json.loads(RELEASED.read_text("utf-8")), new)
    for sentence in found:
        print(sentence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
