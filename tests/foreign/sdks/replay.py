"""The recorded events of the official SDKs as bytes, and what has to become of each.

Owns: reading recorded/*.json, the expected verdicts. Does not own: recording (__main__), who replays them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

HERE = Path(__file__).parent
COUNTED = "counted"
# Later than every recording, so that the time that an SDK took from its own clock lies in the past.
ARRIVAL_MS = 1_830_297_600_000


class Sent(NamedTuple):
    """One event as an SDK sent it. value and headers are the bytes on the wire; HTTP header names in lower case."""

    sdk: str
    case: str
    binding: str
    mode: str
    headers: list[tuple[bytes, bytes | None]]
    value: bytes | None

    @property
    def way(self) -> str:
        return f"{self.binding} {self.mode}"

    @property
    def kafka_headers(self) -> list[tuple[str, bytes | None]]:
        return [(name.decode(), value) for name, value in self.headers]

    @property
    def http_headers(self) -> list[tuple[bytes, bytes]]:
        return [(name, value or b"") for name, value in self.headers]

    @property
    def content_type(self) -> str:
        return next((text.decode() for name, text in self.http_headers if name == b"content-type"), "")


class _Recorded(msgspec.Struct):
    case: str
    binding: str
    mode: str
    headers: list[tuple[str, str | None]] = []
    value: str | None = None
    refused: str = ""


class _File(msgspec.Struct):
    sdk: str
    events: list[_Recorded]


def recorded() -> list[Sent]:
    """Every event that an SDK sent, without those that it refused to make."""
    found = []
    for path in sorted((HERE / "recorded").glob("*.json")):
        for one in msgspec.json.decode(path.read_bytes(), type=_File).events:
            if not one.refused:
                headers = [(name.encode("latin-1"), _bytes(text)) for name, text in one.headers]
                found.append(Sent(path.stem, one.case, one.binding, one.mode, headers, _bytes(one.value)))
    return found


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("latin-1")


def cases() -> dict[str, dict[str, Any]]:
    """The events that the SDKs were asked to send, by the name of the case."""
    return {one["case"]: one for one in json.loads((HERE / "cases.json").read_text())}


def expected(sent: Sent) -> str:
    """COUNTED, or the reason for which the event has to be refused."""
    rules = EXPECTED.get(sent.case, COUNTED)
    if isinstance(rules, str):
        return rules
    for key in (
        f"{sent.sdk} {sent.way}",
        sent.way,
        f"{sent.sdk} {sent.binding}",
        f"{sent.sdk} {sent.mode}",
        sent.mode,
    ):
        if key in rules:
            return rules[key]
    return COUNTED


# HttpURLConnection sends application/x-www-form-urlencoded if no content type is set, and Java's SDK does not.
_JAVA_FORM = {"java http binary": "invalid-content-type"}
_NOT_JSON = {
    "http binary": "invalid-content-type",
    "kafka binary": "bad-datacontenttype",
    # Version 1 for Python states the data's type as that of the whole record.
    "python-1 kafka structured": "bad-content-type",
}
EXPECTED: dict[str, str | dict[str, str]] = {
    "json-untyped": _JAVA_FORM,
    # Go writes data as text unless its type is application/json or text/json; text in `data` is never read as JSON.
    "json-vendor": {"go structured": "bad-data"},
    # Version 1 for Python writes data_base64 and leaves datacontenttype out, so nothing says that it is JSON.
    "json-as-bytes": {"python-1 kafka structured": "data-base64"},
    "json-as-bytes-untyped": {"java structured": COUNTED, "structured": "data-base64"} | _JAVA_FORM,
    # A text that holds JSON. Java knows only bytes, so it is JSON there; where an SDK writes the text itself as the
    # body, it is JSON too; all others quote it.
    "json-as-text": {
        "java structured": COUNTED,
        "structured": "bad-data",
        "go binary": "bad-data",
        "python-1 binary": "bad-data",
    },
    # Version 2 for Python writes a list as Python spells it.
    "json-array": {"python-2 binary": "bad-json", "binary": "bad-data", "structured": "bad-data"},
    "text": _NOT_JSON | {"java structured": "data-base64", "structured": "bad-datacontenttype"},
    "text-untyped": {
        "java structured": "bad-json",  # its bytes stand unquoted in `data`
        "structured": "bad-data",
        "go binary": "bad-data",  # quoted
        "python-1 binary": "bad-data",
        "binary": "bad-json",
    }
    | _JAVA_FORM,
    "bytes": _NOT_JSON | {"structured": "data-base64"},
    "bytes-untyped": {"java structured": "bad-json", "structured": "data-base64", "binary": "bad-encoding"}
    | _JAVA_FORM,
    "none": _JAVA_FORM,
    # Both write the letter as one byte of Latin-1; HTTP binding 3.1.3.2 asks for UTF-8 with percent signs.
    "latin": {"js http binary": "bad-header", "python-1 http binary": "bad-header"},
    "no-subject": "missing-subject",
}
