"""JSON read strictly: one text, one meaning, every digit kept.

Owns: what counts as JSON here (RFC 8259 in UTF-8, no BOM, no duplicate names, no NaN, bounded depth and
numbers) and the canonical text (members sorted by name, no whitespace, numbers spelled as sent). Does not
own: what the members mean, the Python values of texts that are no events (json_value).

Every text is refused with Rejected or read, whatever its bytes are, in time proportional to their number.
Fast ways are taken only where they prove that nothing was lost; all else goes through the exact reader.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
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
_LEVELS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - set(_LEVELS))


class Number:
    """A JSON number by its spelling; never a float."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        if len(text) > MAX_NUMBER_CHARS:
            raise Rejected("number-too-long", f"A number has more than {MAX_NUMBER_CHARS} characters.")
        self.text = text


def _spelling(text: str) -> msgspec.Raw:
    return msgspec.Raw(Number(text).text.encode())


def _spell_number(value: Any) -> msgspec.Raw:
    if value.__class__ is Number:
        return msgspec.Raw(value.text.encode())
    raise TypeError(f"{type(value).__name__} is no JSON value")


_spelled = msgspec.json.Decoder(float_hook=_spelling).decode
_spell_numbers = msgspec.json.Encoder(order="sorted", enc_hook=_spell_number).encode


def parse(text: bytes) -> Parsed:
    """Read a JSON text.

    Raises Rejected: bad-json, bad-encoding, duplicate-member, too-deep, number-too-long.
    """
    try:
        tree = loads(text)
        return compare(text, tree, dumps(tree, None, OPT_SORT_KEYS))
    except (JSONDecodeError, JSONEncodeError):
        # The text is broken, has a number beyond float, or is deeper than orjson writes: the exact reader decides.
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
    narrowed = narrow(text)
    if compact == narrowed:
        return tree, canonical, False
    return _compare_spelled(text, narrowed)


def _compare_spelled(text: bytes, narrowed: bytes) -> Parsed:
    """The same proof with fractions kept as spelled (`0.10`); orjson has read `text`, so it is strict JSON."""
    try:
        tree = _spelled(text)
        if _spell(tree) == narrowed:
            return tree, _spell_sorted(tree), False
    except (msgspec.MsgspecError, RecursionError):
        pass  # the exact reader says what it is
    return parse_exactly(text)


def parse_exactly(text: bytes) -> Parsed:
    """The slow reader that decides every case. Numbers of the tree are `Number`. Errors as `parse`."""
    tree = decoded(text, _SPELLED)
    return tree, canonical_text(tree), False


def too_deep(text: bytes) -> bool:
    """Whether a parser would meet more than MAX_DEPTH open objects and arrays. One pass, whatever the text is."""
    if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return False
    # Up to the first error a backslash is in a string, and a quote that is not escaped begins or ends one.
    outside = b"".join(text.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    level = 0
    for bracket in outside.translate(None, _NO_BRACKETS):
        level += _LEVELS[bracket]
        if level > MAX_DEPTH:
            return True
    return False


def narrow(text: bytes) -> bytes:
    """The text without single spaces after `,` and `:`, as json.dumps of Python writes them."""
    return text.replace(b": ", b":").replace(b", ", b",").strip(b" \t\r\n")


def decoded(text: bytes, decoder: json.JSONDecoder) -> Any:
    """What `decoder` makes of a text, checked before it is read. Raises Rejected as `parse`."""
    if text.startswith(_BOMS):
        raise Rejected("bad-encoding", "The JSON text starts with a byte order mark; send plain UTF-8.")
    if b"\0" in text[:2]:
        raise Rejected("bad-encoding", "The JSON text is UTF-16 or UTF-32; send plain UTF-8.")
    try:
        characters = text.decode()
    except UnicodeDecodeError as error:
        raise Rejected("bad-encoding", f"The text is not UTF-8 (byte {error.start}).") from None
    if too_deep(text):
        raise Rejected("too-deep", f"The JSON text is nested deeper than {MAX_DEPTH} levels.")
    try:
        return decoder.decode(characters)
    except json.JSONDecodeError as error:
        raise Rejected("bad-json", f"The text is not JSON: {error.msg} (character {error.pos}).") from None


def canonical_text(tree: Any) -> bytes:
    """The canonical text of a tree with `Number`s; equals orjson's sorted text where the tree has none."""
    try:
        return _spell_numbers(tree)
    except UnicodeEncodeError:
        raise half_surrogate() from None


def half_surrogate() -> Rejected:
    """The refusal of a string that no UTF-8 text holds."""
    return Rejected("bad-encoding", "A string holds half of a surrogate pair (\\ud800 to \\udfff).")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise Rejected("duplicate-member", f"The member {name[:40]!r} stands twice in one object.")
    return members


def _no_constant(spelling: str) -> NoReturn:
    raise Rejected("bad-json", f"The text is not JSON: {spelling} is no JSON value.")


def decoder(integer: Callable[[str], object], fraction: Callable[[str], object]) -> json.JSONDecoder:
    """A strict decoder whose numbers are made from their spelling."""
    return json.JSONDecoder(
        object_pairs_hook=_members, parse_int=integer, parse_float=fraction, parse_constant=_no_constant
    )


_SPELLED = decoder(Number, Number)
