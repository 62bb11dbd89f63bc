"""JSON read strictly: one text, one meaning, every digit kept.

Owns: what counts as JSON here (RFC 8259 in UTF-8, no BOM, no duplicate names, no NaN, bounded depth and
numbers) and the canonical text (members sorted by name, no whitespace, numbers spelled as sent). Does not
own: what the members mean.

Fast ways are taken only where they prove that nothing was lost; all else goes through the exact reader.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NoReturn

import msgspec
from orjson import OPT_SORT_KEYS, JSONDecodeError, JSONEncodeError, dumps, loads

from pipeline.errors import Rejected

MAX_DEPTH = 64
MAX_NUMBER_CHARS = 4300  # Python's int() refuses longer ones

Parsed = tuple[Any, bytes, bool]
"""(tree, canonical text, verbatim). verbatim: orjson.dumps of a part of the tree is that part's text as sent.

Where verbatim is false, numbers in the tree may be `Number` or `Raw` in place of int and float.
"""

_spell = msgspec.json.Encoder().encode
_spell_sorted = msgspec.json.Encoder(order="sorted").encode
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


class Number:
    """A JSON number by its spelling; never a float."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        if len(text) > MAX_NUMBER_CHARS:
            raise Rejected("number-too-long", f"A number has more than {MAX_NUMBER_CHARS} characters.")
        self.text = text


def _spelling(text: str) -> msgspec.Raw:
    return msgspec.Raw(Number(text).text.encode())


_spelled = msgspec.json.Decoder(float_hook=_spelling).decode


def parse(text: bytes) -> Parsed:
    """Read a JSON text.

    Raises Rejected: bad-json, bad-encoding, duplicate-member, too-deep, number-too-long.
    """
    try:
        tree = loads(text)
        return compare(text, tree, dumps(tree, None, OPT_SORT_KEYS))
    except (JSONDecodeError, JSONEncodeError):
        # Broken, or a number beyond float, or deeper than orjson writes: the exact reader tells.
        return parse_exactly(text)


def compare(text: bytes, tree: Any, canonical: bytes) -> Parsed:
    """Take orjson's tree where writing it gives the text as sent, up to single spaces after `,` and `:`.

    Removing such a space inside a string makes the texts differ, and equal names stay equal. So equality
    proves that the text holds no repeated name, and that each number is spelled as orjson spells it.
    """
    if too_deep(text):
        return parse_exactly(text)
    compact = dumps(tree)
    if compact == text:
        return tree, canonical, True
    narrow = text.replace(b": ", b":").replace(b", ", b",").strip(b" \t\r\n")
    if compact == narrow:
        return tree, canonical, False
    return _compare_spelled(text, narrow)


def _compare_spelled(text: bytes, narrow: bytes) -> Parsed:
    """The same proof with fractions kept as spelled (`0.10`); orjson has read `text`, so it is strict JSON."""
    try:
        tree = _spelled(text)
        if _spell(tree) == narrow:
            return tree, _spell_sorted(tree), False
    except (msgspec.MsgspecError, RecursionError):
        pass  # the exact reader says what it is
    return parse_exactly(text)


def parse_exactly(text: bytes) -> Parsed:
    """The slow reader that decides every case. Numbers of the tree are `Number`. Errors as `parse`."""
    if text.startswith(_BOMS):
        raise Rejected("bad-encoding", "The JSON text starts with a byte order mark; send plain UTF-8.")
    if b"\0" in text[:2]:
        raise Rejected("bad-encoding", "The JSON text is UTF-16 or UTF-32; send plain UTF-8.")
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise Rejected("bad-encoding", f"The text is not UTF-8 (byte {error.start}).") from None
    if too_deep(text):
        raise Rejected("too-deep", f"The JSON text is nested deeper than {MAX_DEPTH} levels.")
    try:
        tree = _DECODER.decode(decoded)
    except json.JSONDecodeError as error:
        raise Rejected("bad-json", f"The text is not JSON: {error.msg} (character {error.pos}).") from None
    return tree, canonical_text(tree), False


def too_deep(text: bytes) -> bool:
    """Whether a parser would meet more than MAX_DEPTH open objects and arrays."""
    if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return False
    level = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", text)):
        level += 1 if bracket in b"{[" else -1
        if level > MAX_DEPTH:
            return True
    return False


def canonical_text(tree: Any) -> bytes:
    """The canonical text of a tree with `Number`s; equals orjson's sorted text where the tree has none."""
    if tree.__class__ is dict:
        members = (canonical_text(name) + b":" + canonical_text(tree[name]) for name in sorted(tree))
        return b"{" + b",".join(members) + b"}"
    if tree.__class__ is list:
        return b"[" + b",".join(map(canonical_text, tree)) + b"]"
    if tree.__class__ is Number:
        return bytes(tree.text, "ascii")
    try:
        return dumps(tree)
    except JSONEncodeError:
        raise Rejected(
            "bad-encoding", "A string holds half of a surrogate pair (\\ud800 to \\udfff)."
        ) from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise Rejected("duplicate-member", f"The member {name[:40]!r} stands twice in one object.")
    return members


def _no_constant(spelling: str) -> NoReturn:
    raise Rejected("bad-json", f"The text is not JSON: {spelling} is no JSON value.")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=Number, parse_float=Number, parse_constant=_no_constant
)
