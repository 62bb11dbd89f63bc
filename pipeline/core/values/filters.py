"""Filters of a text or an instant, as OpenMeter's FilterString and FilterTime write them in JSON.

Owns: which operators there are, their limits and texts, what each matches. Does not own: SQL
(stores.clickhouse.filters), or what is filtered. A filter is one operator, such as {"$in": ["a", "b"]}; {} matches
everything; null is absent. Text is compared by its UTF-8 bytes. In a pattern `%` matches any text, `_` one
character, and `\\` makes the next character literal; $ilike, $nilike, $contains and $ncontains take a letter in
either case. `$exists` means not "".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from pipeline.core.values import json_value, timestamp
from pipeline.errors import Rejected

MAX_DEPTH = 1  # of $and and $or
MAX_OPERANDS = 100  # of $in, $nin, $and, $or
MAX_PATTERN = 256
MAX_CHARACTERS = 4096
MAX_FILTER_BYTES = 65_536

_ONE = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")
_PATTERNS = ("$like", "$nlike", "$ilike", "$nilike", "$contains", "$ncontains")
_LISTS = ("$in", "$nin")
_JOINS = ("$and", "$or")
_TIME = ("$eq", "$gt", "$gte", "$lt", "$lte")
_IGNORE_CASE = frozenset({"$ilike", "$nilike", "$contains", "$ncontains"})
NEGATED = {"$nlike": "$like", "$nilike": "$ilike", "$ncontains": "$contains", "$nin": "$in", "$ne": "$eq"}
# Of RE2 and Python; old servers misread other characters behind a backslash.
_META = frozenset("|()^$.[?*+{\\")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda a, b: a == b,
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
}


@dataclass(frozen=True)
class Filter:
    """One operator. operand: text, texts, a bool ($exists), filters ($and, $or), or ns since 1970. "" op: all."""

    op: str
    operand: Any = None


ALL = Filter("")


def parse_json(label: str, text: str) -> object:
    """A filter that came as JSON text. Raises Rejected `bad-query`."""
    if len(text) > MAX_FILTER_BYTES:
        _refuse(f"{label} is longer than {MAX_FILTER_BYTES} characters")
    try:
        found: object = json_value.read(text)
    except Rejected as error:
        _refuse(f"{label} is no JSON: {error.detail}")
    return found


def filter_string(label: str, body: object, depth: int = MAX_DEPTH) -> Filter:
    """The filter of a text. Raises Rejected `bad-query` with OpenMeter's text where it has one."""
    op, operand = _single(label, body)
    if op in _ONE:
        return Filter(op, _text(label, op, operand, MAX_CHARACTERS))
    if op in _PATTERNS:
        return Filter(op, _text(label, op, operand, MAX_PATTERN))
    if op in _LISTS:
        texts = [_text(label, op, one, MAX_CHARACTERS) for one in _list(label, op, operand)]
        return Filter(op, tuple(dict.fromkeys(texts)))
    if op == "$exists":
        if not isinstance(operand, bool):
            _refuse(f"{label}: $exists must be true or false")
        return Filter(op, operand)
    return _joined(label, op, operand, depth, filter_string)


def containing(label: str, text: str) -> Filter:
    """The filter of texts that contain `text`, in its case. Raises Rejected `bad-query`."""
    escaped = text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    return filter_string(label, {"$like": f"%{escaped}%"})


def filter_time(label: str, body: object, depth: int = MAX_DEPTH) -> Filter:
    """The filter of an instant: operands are RFC 3339, kept as ns since 1970. Raises as filter_string."""
    op, operand = _single(label, body)
    if op in _TIME:
        text = _text(label, op, operand, MAX_PATTERN)
        try:
            return Filter(op, timestamp.parse_ns(text))
        except Rejected as error:
            _refuse(f"{label}: {op} is no RFC 3339 time: {error.detail}")
    return _joined(label, op, operand, depth, filter_time)


def matches(filter_: Filter, value: str) -> bool:
    """Whether a text passes."""
    op, operand = filter_.op, filter_.operand
    if not op:
        return True
    if op == "$and":
        return all(matches(one, value) for one in operand)
    if op == "$or":
        return any(matches(one, value) for one in operand)
    if op == "$exists":
        return bool(bool(value) == operand)
    positive = NEGATED.get(op, op)
    if positive == "$in":
        found = value in operand
    elif positive in _COMPARE:
        found = bool(_COMPARE[positive](value.encode(), operand.encode()))
    else:
        found = _like(op, operand, value)
    return found == (positive == op)


def pattern(op: str, operand: str) -> str:
    """The regular expression (RE2) that says the same as a pattern operator, its negation left aside."""
    return "(?s)^" + ".*".join(_expression(op, stretch) for stretch in _stretches(op, operand)) + "$"


def _like(op: str, operand: str, value: str) -> bool:
    """In time proportional to the text: what stands between two % is searched for once, the leftmost wins."""
    compiled = _compiled(op, operand)
    first, _ = compiled[0]
    found = first.match(value)
    if found is None:
        return False
    place = found.end()
    if len(compiled) == 1:
        return place == len(value)
    for stretch, _ in compiled[1:-1]:
        found = stretch.search(value, place)
        if found is None:
            return False
        place = found.end()
    last, width = compiled[-1]
    start = len(value) - width
    return start >= place and last.match(value, start) is not None


@lru_cache(256)
def _compiled(op: str, operand: str) -> tuple[tuple[re.Pattern[str], int], ...]:
    """Each stretch between two % and how many characters it takes."""
    stretches = _stretches(op, operand)
    return tuple((re.compile(_expression(op, stretch), re.DOTALL), len(stretch)) for stretch in stretches)


def _stretches(op: str, operand: str) -> list[list[str | None]]:
    """What stands before, between and after the %: characters, None for any one."""
    if op in ("$contains", "$ncontains"):
        return [[], list(operand), []]
    found: list[list[str | None]] = [[]]
    characters = iter(operand)
    for character in characters:
        if character == "%":
            found.append([])
        elif character == "_":
            found[-1].append(None)
        elif character == "\\":
            found[-1].append(next(characters, "\\"))
        else:
            found[-1].append(character)
    return found


def _expression(op: str, stretch: Sequence[str | None]) -> str:
    literal = _either_case if op in _IGNORE_CASE else _literal
    return "".join("." if character is None else literal(character) for character in stretch)


def _literal(character: str) -> str:
    if character == "\0":
        return r"[\x00]"
    return "\\" + character if character in _META else character


def _either_case(character: str) -> str:
    # A flag would do, but old servers look for the letters as they stand.
    cases = {character, character.lower(), character.upper()}
    letters = "".join(sorted(one for one in cases if len(one) == 1))
    return f"[{letters}]" if len(letters) > 1 else _literal(character)


def _single(label: str, body: object) -> tuple[str, Any]:
    """The one operator that is set."""
    if not isinstance(body, Mapping):
        _refuse(f'{label} must be an object such as {{"$eq": "a"}}')
    set_ = {op: operand for op, operand in body.items() if operand is not None}
    if len(set_) > 1:
        _refuse(f"{label}: filter is invalid: multiple operators are set")
    return next(iter(set_.items()), ("", None))


def _joined(
    label: str, op: str, operand: object, depth: int, parse: Callable[[str, object, int], Filter]
) -> Filter:
    if not op:
        return ALL
    if op not in _JOINS:
        _refuse(f"{label}: there is no operator {op[:32]}")
    if depth <= 0:
        _refuse(f"{label}: filter complexity exceeds maximum allowed depth")
    return Filter(op, tuple(parse(label, one, depth - 1) for one in _list(label, op, operand)))


def _list(label: str, op: str, operand: object) -> Sequence[object]:
    if not isinstance(operand, list) or not 1 <= len(operand) <= MAX_OPERANDS:
        _refuse(f"{label}: {op} must be a list of 1 to {MAX_OPERANDS}")
    return operand


def _text(label: str, op: str, operand: object, limit: int) -> str:
    if not isinstance(operand, str):
        _refuse(f"{label}: {op} must be text")
    if len(operand) > limit:
        _refuse(f"{label}: {op} is longer than {limit} characters")
    if not operand.isascii() and any("\ud800" <= character <= "\udfff" for character in operand):
        _refuse(f"{label}: half of a surrogate pair is no text")
    return operand


def _refuse(detail: str) -> NoReturn:
    raise Rejected("bad-query", detail.encode("utf-8", "backslashreplace").decode())
