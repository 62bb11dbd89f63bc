"""The CloudEvents 1.0 envelope as it comes in a Kafka record.

Owns: structured or binary mode (Kafka binding 3.1 to 3.3), the names, types and limits of attributes, and JSON data
that an SDK wrote as `data_base64`.
Does not own: JSON itself (values.strict_json), the time and what becomes of an event (event).
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
from orjson import OPT_SORT_KEYS, Fragment, JSONDecodeError, JSONEncodeError, dumps, loads

from pipeline.core.values.strict_json import Number, canonical_text, compare, parse, parse_exactly
from pipeline.errors import Rejected

RecordHeaders = Sequence[tuple[str, bytes | None]]

Envelope = tuple[dict[str, Any], bytes, Any]
"""(members, canonical text of them, data to write: what orjson.dumps writes exactly as it was sent)."""

REQUIRED = ("specversion", "id", "source", "type", "subject")
KNOWN = frozenset((*REQUIRED, "time", "datacontenttype", "dataschema", "data"))
MAX_ATTRIBUTE_BYTES = 1024
_DATA = ("data", "data_base64")

_EXACT = frozenset((str, int, bool, type(None)))
_BACKSLASH = ord("\\")
_USUAL_HEADERS = (
    ("content-type", b"application/cloudevents+json"),
    ("content-type", b"application/cloudevents+json; charset=UTF-8"),
    ("content-type", b"application/cloudevents+json; charset=utf-8"),
)
_STRUCTURED = re.compile(r"application/cloudevents(?:\+json)?[ \t]*(?:;.*)?", re.IGNORECASE).fullmatch
_JSON_TYPE = re.compile(
    r"[!#$%&'*+.^_`|~\w-]+/(?:[!#$%&'*+.^_`|~\w-]+\+)?json[ \t]*(?:;.*)?", re.ASCII | re.IGNORECASE
).fullmatch
_NAME = re.compile(r"[a-z0-9]+", re.ASCII).fullmatch
_INTEGER = re.compile(r"-?[0-9]{1,10}").fullmatch
# CloudEvents 1.0, section "Type System": no control characters, surrogates or noncharacters in a String.
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
).search


class _Data(msgspec.Struct, gc=False):
    data: msgspec.Raw = msgspec.Raw(b"null")


_data_text = msgspec.json.Decoder(_Data).decode


def says_only_structured(headers: RecordHeaders) -> bool:
    """Whether the one header is the usual one of structured mode, so that `read_structured` may read the value."""
    return len(headers) == 1 and headers[0] in _USUAL_HEADERS


def read_structured(value: bytes) -> Envelope:
    """The envelope of a JSON event. Raises Rejected as `strict_json.parse`, and not-an-object."""
    try:
        members = loads(value)
        canonical = dumps(members, None, OPT_SORT_KEYS)
    except (JSONDecodeError, JSONEncodeError):
        members, canonical, verbatim = parse_exactly(value)
    else:
        # With neither floats nor backslashes, whatever reading loses (whitespace, a repeated name, the sign
        # of -0) makes the written text shorter: equal length proves that nothing was lost. This looks into
        # `data` only, since every other member has to be a string, or is read again by `settle_optional`.
        if (
            len(canonical) == len(value)
            and members.__class__ is dict
            and (data := members.get("data")).__class__ is dict
            and _EXACT.issuperset(map(type, data.values()))
            and _BACKSLASH not in value
        ):
            return members, canonical, data
        members, canonical, verbatim = compare(value, members, canonical)
    if members.__class__ is not dict:
        raise Rejected("not-an-object", "The event is JSON, but not an object.")
    if verbatim:
        return members, canonical, members.get("data")
    return members, canonical, Fragment(bytes(_data_text(value).data))


def read_record(value: bytes | None, headers: RecordHeaders, max_event_bytes: int) -> Envelope:
    """The envelope of any Kafka record. Raises Rejected with every reason of section "Kafka" and "JSON"."""
    if value is not None and len(value) > max_event_bytes:
        raise Rejected("too-large", f"The event has {len(value)} bytes; the limit is {max_event_bytes}.")
    attributes, content_type = _attributes(headers)
    data_type = attributes.pop("datacontenttype", None)
    if content_type is not None and content_type.lower().startswith("application/cloudevents"):
        _refuse_other_formats(content_type)
    elif attributes:
        return _read_binary(value, attributes, _data_type(content_type, data_type))
    elif content_type is not None and not is_json_type(content_type):
        raise Rejected("bad-content-type", f"The content type {content_type[:60]!r} holds no CloudEvent.")
    if not value:
        raise Rejected("empty-value", "The record has no value (a tombstone, or zero bytes).")
    envelope = read_structured(value)
    for name, text in attributes.items():
        if text != _as_text(envelope[0].get(name)):
            raise Rejected("header-differs", f"The header ce_{name[:40]} contradicts the event in the value.")
    if data_type is not None:
        _check_copy(data_type, envelope[0].get("datacontenttype"))
    return envelope


def check_required(members: dict[str, Any]) -> None:
    """Raise Rejected for the first required attribute that is missing, wrong, too long or ill-typed."""
    for name in REQUIRED:
        value = members.get(name)
        if value is None:
            raise Rejected(f"missing-{name}", f"The attribute {name} is missing.")
        check_string(name, value, f"bad-{name}")
        if len(value) > MAX_ATTRIBUTE_BYTES or len(value.encode()) > MAX_ATTRIBUTE_BYTES:
            raise Rejected(
                "attribute-too-long", f"The attribute {name} has more than {MAX_ATTRIBUTE_BYTES} bytes."
            )
    if members["specversion"] != "1.0":
        raise Rejected("bad-specversion", 'The attribute specversion has to be the string "1.0".')


def check_string(name: str, value: Any, reason: str) -> None:
    """Raise Rejected unless the value is a non-empty CloudEvents String."""
    if value.__class__ is not str:
        raise Rejected(reason, f"The attribute {name} has to be a string.")
    if not value:
        raise Rejected(reason, f"The attribute {name} is empty.")
    if _FORBIDDEN(value):
        raise Rejected(reason, f"The attribute {name} holds a control character or a noncharacter.")


def settle_optional(value: bytes | None, envelope: Envelope) -> bytes:
    """Check the extensions; return the canonical text without members that are null (null means not set).

    Numbers and booleans are strings in that text, so that an event has the same content in both modes.
    Raises Rejected: bad-attribute-name, bad-attribute.
    """
    members, canonical, _ = envelope
    strings = True
    for name, attribute in members.items():
        if name in KNOWN:
            strings = strings and attribute is not None
        elif name == "data_base64":
            strings = False
        elif not _NAME(name):
            raise Rejected(
                "bad-attribute-name", f"The name {name[:40]!r} is not lower-case letters and digits only."
            )
        elif attribute.__class__ is str:
            if attribute:
                check_string(name[:40], attribute, "bad-attribute")
        else:
            strings = False
    if strings or value is None:
        return canonical
    tree = parse_exactly(value)[0]
    exact = {name: member for name, member in tree.items() if member is not None}
    for name in exact.keys() - KNOWN:
        exact[name] = _extension_text(name, exact[name])
    return canonical_text(exact)


def with_plain_data(value: bytes, members: dict[str, Any]) -> bytes:
    """The event with the JSON of its `data_base64` as `data`.

    The SDKs for Go, JavaScript and Python write data that was given to them as bytes in this form, also where its
    `datacontenttype` is JSON; in binary mode the same event has plain data. Raises Rejected("data-base64") unless the
    bytes are a JSON object of a JSON type that the event names, and there is no other data.
    """
    encoded, media_type = members["data_base64"], members.get("datacontenttype")
    named = media_type.__class__ is str and is_json_type(media_type)
    if not named or members.get("data") is not None or encoded.__class__ is not str:
        raise Rejected("data-base64", "The data is binary (data_base64); metering needs a JSON object.")
    try:
        data = b64decode(encoded, validate=True)
        tree = parse(data)[0]
    except (ValueError, Rejected):
        tree = None
    if tree.__class__ is not dict:
        raise Rejected("data-base64", "The data in data_base64 is no JSON object.")
    others = {name: member for name, member in parse_exactly(value)[0].items() if name not in _DATA}
    return canonical_text(others)[:-1] + b',"data":' + data + b"}"


@lru_cache(1024)
def is_json_type(media_type: str) -> bool:
    """Whether the subtype of a media type is `json` or ends in `+json`, parameters aside."""
    return _JSON_TYPE(media_type) is not None


def _attributes(headers: RecordHeaders) -> tuple[dict[str, str], str | None]:
    """The attributes in the `ce_` headers, and the content type. Other headers are ignored."""
    attributes: dict[str, str] = {}
    content_type: str | None = None
    for key, raw in headers:
        name = key.lower()
        if name != "content-type" and name[:3] != "ce_":
            continue
        try:
            text = None if raw is None else raw.decode()
        except UnicodeDecodeError:
            text = None
        if text is None:
            raise Rejected("bad-header", f"The header {key[:40]!r} is null or not UTF-8.")
        if name == "content-type":
            if content_type is not None:
                raise Rejected("repeated-header", "The header content-type stands twice.")
            content_type = text
            continue
        name = key[3:]
        if not _NAME(name) or name == "data":
            raise Rejected("bad-attribute-name", f"The header {key[:40]!r} names no attribute of an event.")
        if name in attributes:
            raise Rejected("repeated-header", f"The header {key[:40]!r} stands twice.")
        attributes[name] = text
    return attributes, content_type


def _data_type(content_type: str | None, copy: str | None) -> str | None:
    """The data's media type in binary mode: the content type, else the header `ce_datacontenttype`.

    The binding knows no such header, but the JavaScript SDK writes it beside the content type. Raises
    Rejected("header-differs") where the two name different media types.
    """
    if content_type is None or copy is None:
        return content_type if copy is None else copy
    _check_copy(copy, content_type)
    return content_type


def _check_copy(copy: str, stated: Any) -> None:
    """Raise Rejected("header-differs") where `ce_datacontenttype` contradicts what the event states.

    stated: None means a JSON type (JSON format 2.4); parameters may differ. One that is no string is left to
    `check_data_type`.
    """
    if stated is None:
        agrees = is_json_type(copy)
    else:
        agrees = stated.__class__ is not str or _media_type(copy) == _media_type(stated)
    if not agrees:
        raise Rejected(
            "header-differs",
            f"The header ce_datacontenttype ({copy[:60]!r}) contradicts the event's content type.",
        )


def _media_type(text: str) -> str:
    return text.partition(";")[0].strip(" \t").lower()


def _refuse_other_formats(content_type: str) -> None:
    if content_type.lower().startswith("application/cloudevents-batch"):
        raise Rejected("batch-in-record", "The record holds a batch; Kafka knows one event a record.")
    if not _STRUCTURED(content_type):
        raise Rejected("bad-content-type", f"The event format {content_type[:60]!r} is not JSON.")


def _read_binary(value: bytes | None, attributes: dict[str, str], content_type: str | None) -> Envelope:
    members: dict[str, Any] = dict(attributes)
    if content_type is not None:
        members["datacontenttype"] = content_type
        check_data_type(content_type)
    if not value:  # the binding says null for "no data"; the cloudevents package writes zero bytes
        return members, dumps(members, None, OPT_SORT_KEYS), None
    data, canonical, _ = parse(value)
    if data is None:
        return members, dumps(members, None, OPT_SORT_KEYS), None
    members["data"] = Fragment(canonical)
    text = dumps(members, None, OPT_SORT_KEYS)
    members["data"] = data
    return members, text, Fragment(value.strip(b" \t\r\n"))


def check_data_type(media_type: Any) -> None:
    """Raise Rejected("bad-datacontenttype") unless data of this type is JSON."""
    if media_type.__class__ is not str or not is_json_type(media_type):
        raise Rejected("bad-datacontenttype", "The attribute datacontenttype has to be a JSON media type.")


def _extension_text(name: str, attribute: Any) -> str:
    text = _as_text(attribute)
    if text is None:
        raise Rejected("bad-attribute", f"The extension {name[:40]} is no string, boolean or 32-bit integer.")
    return text


def _as_text(attribute: Any) -> str | None:
    """An attribute's canonical string (CloudEvents 1.0, "Type System"); None if it is of no type."""
    if attribute.__class__ is Number:
        attribute = int(attribute.text) if _INTEGER(attribute.text) else None
    if attribute.__class__ is str:
        return str(attribute)
    if attribute.__class__ is bool:
        return "true" if attribute else "false"
    if attribute.__class__ is int and -(2**31) <= attribute < 2**31:
        return str(attribute)
    return None
