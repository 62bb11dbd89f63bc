"""Every case of "Rejected events and their reasons" in schemas/README.md, by its number there."""

# ruff: noqa: E501 - a case a line

import gzip
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.metering.cloudevent import RecordHeaders
from tests.fixtures.kafka_record import ABSENT, GOOD, LIMITS, RECEIVED_AT_MS, binary, read, reason, take, text

README = Path(__file__).parents[2] / "schemas" / "README.md"
CORE = Path(__file__).parents[2] / "pipeline" / "core"
ACCEPTED = None
BODY = json.dumps(GOOD["data"]).encode()
STRUCTURED = ("content-type", b"application/cloudevents+json; charset=UTF-8")

JSON_TYPE = "application/json"

DATA_TYPE = ("ce_datacontenttype", b"application/json")

Case = tuple[str, bytes | None, RecordHeaders, str | None]


def raw(old: str, new: bytes) -> bytes:
    """The good event with a piece of its text replaced."""
    assert old.encode() in text()
    return text().replace(old.encode(), new)


def data(member: bytes) -> bytes:
    return raw('"tokens":1234', member)


def base64_of(content: bytes, **changes: Any) -> bytes:
    """The good event with its data in `data_base64`."""
    members = {"data": ABSENT, "datacontenttype": JSON_TYPE, "data_base64": b64encode(content).decode()}
    return text(**{**members, **changes})


def typed(data_type: str, content_type: bytes | None = None) -> RecordHeaders:
    """The headers of binary mode with `ce_datacontenttype`, and with this content type or none."""
    found = [*binary()[1:], ("ce_datacontenttype", data_type.encode())]
    return found if content_type is None else [("content-type", content_type), *found]


JSON: list[Case] = [
    ("1 truncated", text()[:-1], (), "bad-json"),
    ("2 trailing bytes", text() + b"x", (), "bad-json"),
    ("2 trailing newline", text() + b"\r\n", (), ACCEPTED),
    ("3 single quotes", text().replace(b'"', b"'"), (), "bad-json"),
    ("4 NaN", data(b'"tokens":NaN'), (), "bad-json"),
    ("5 Infinity", data(b'"tokens":Infinity'), (), "bad-json"),
    ("5 -Infinity", data(b'"tokens":-Infinity'), (), "bad-json"),
    ("6 leading zero", data(b'"tokens":0123'), (), "bad-json"),
    ("6 plus sign", data(b'"tokens":+5'), (), "bad-json"),
    ("6 bare point", data(b'"tokens":5.'), (), "bad-json"),
    ("6 trailing comma", data(b'"tokens":5,'), (), "bad-json"),
    ("6 comment", data(b'"tokens":5/*five*/'), (), "bad-json"),
    ("7 raw control byte", data(b'"tokens":"\x01"'), (), "bad-json"),
    ("7 raw newline", data(b'"tokens":"\n"'), (), "bad-json"),
    ("8 two documents", text() + text(), (), "bad-json"),
    ("8 two lines", text() + b"\n" + text(), (), "bad-json"),
    ("9 empty value", b"", (), "empty-value"),
    ("9 only whitespace", b" \n", (), "bad-json"),
    ("10 array", b"[" + text() + b"]", (), "not-an-object"),
    ("10 empty array", b"[]", (), "not-an-object"),
    ("10 string", b'"event"', (), "not-an-object"),
    ("10 number", b"1", (), "not-an-object"),
    ("10 null", b"null", (), "not-an-object"),
    ("11 duplicate attribute", raw('"specversion"', b'"id":"2","specversion"'), (), "duplicate-member"),
    ("11 duplicate, equal value", raw('"specversion":"1.0"', b'"specversion":"1.0","specversion":"1.0"'), (), "duplicate-member"),
    ("11 duplicate in data", data(b'"tokens":1,"tokens":2'), (), "duplicate-member"),
    ("11 duplicate deep in data", data(b'"a":[{"b":1,"b":1}]'), (), "duplicate-member"),
    ("11 duplicate, escaped", data(b'"tokens":1,"token\\u0073":2'), (), "duplicate-member"),
    ("11 duplicate, space before colon", data(b'"tokens" :1,"tokens" : 2'), (), "duplicate-member"),
    ("11 duplicate data", raw('"data"', b'"data":{},"data"'), (), "duplicate-member"),
    ("11 duplicate beside a text that looks like a name", data(b'"a":"\\":","tokens":1,"tokens":2'), (), "duplicate-member"),
    ("11 duplicate made up for by a longer float", data(b'"a":0,"a":0,"b":1E15'), (), "duplicate-member"),
    ("12 byte order mark", b"\xef\xbb\xbf" + text(), (), "bad-encoding"),
    ("13 UTF-16 with mark", text().decode().encode("utf-16"), (), "bad-encoding"),
    ("13 UTF-16 LE", text().decode().encode("utf-16-le"), (), "bad-encoding"),
    ("13 UTF-16 BE", text().decode().encode("utf-16-be"), (), "bad-encoding"),
]  # fmt: skip

ENCODING: list[Case] = [
    ("14 random bytes", bytes(range(256)), (), "bad-encoding"),
    ("15 invalid UTF-8 in subject", raw("customer", b"custo\xffmer"), (), "bad-encoding"),
    ("15 invalid UTF-8 in data", raw("gpt", b"g\xffpt"), (), "bad-encoding"),
    ("16 overlong form", raw("customer", b"custo\xc0\xafmer"), (), "bad-encoding"),
    ("17 CESU surrogates", raw("customer", b"\xed\xa0\xbd\xed\xb8\x80"), (), "bad-encoding"),
    ("18 lone surrogate in subject", raw("customer", b"\\ud800"), (), "bad-encoding"),
    ("18 lone low surrogate in data", raw("gpt", b"\\udc00"), (), "bad-encoding"),
    ("18 lone surrogate as a name", data(b'"\\ud800":1'), (), "bad-encoding"),
    ("18 surrogate pair", raw("customer", b"\\ud83d\\ude00"), (), ACCEPTED),
    ("19 NUL in subject", raw("customer", b"\\u0000"), (), "bad-subject"),
    ("19 NUL in id", raw("5f0c1d2e", b"\\u0000"), (), "bad-id"),
    ("19 LF in source", raw("gateway", b"\\n"), (), "bad-source"),
    ("19 DEL in type", raw("llm", b"\x7f"), (), "bad-type"),
    ("19 C1 control in id", raw("5f0c1d2e", "\u0085".encode()), (), "bad-id"),
    ("19 noncharacter in id", raw("5f0c1d2e", "\ufffe".encode()), (), "bad-id"),
    ("19 NUL in data", raw("gpt", b"\\u0000"), (), ACCEPTED),
]


def _attributes() -> list[Case]:
    number = {"specversion": "20", "id": "21", "source": "22", "type": "23", "subject": "24"}
    cases: list[Case] = []
    for name, case in number.items():
        cases += [
            (f"{case} {name} absent", text(**{name: ABSENT}), (), f"missing-{name}"),
            (f"{case} {name} null", text(**{name: None}), (), f"missing-{name}"),
            (f"{case} {name} number", text(**{name: 7}), (), f"bad-{name}"),
            (f"{case} {name} float", text(**{name: 1.0}), (), f"bad-{name}"),
            (f"{case} {name} true", text(**{name: True}), (), f"bad-{name}"),
            (f"{case} {name} object", text(**{name: {}}), (), f"bad-{name}"),
            (f"{case} {name} array", text(**{name: ["a"]}), (), f"bad-{name}"),
            (f"{case} {name} empty", text(**{name: ""}), (), f"bad-{name}"),
            (f"{case} {name} absent, binary", BODY, binary(**{name: ABSENT}), f"missing-{name}"),
            (f"{case} {name} empty, binary", BODY, binary(**{name: ""}), f"bad-{name}"),
        ]
    return cases


ENVELOPE: list[Case] = [
    *_attributes(),
    ("25 all of them numbers", text(id=1, source=1, type=1, subject=1), (), "bad-id"),
    ("25 all of them arrays", text(id=[], source=[], type=[], subject=[]), (), "bad-id"),
    ("25 empty object", b"{}", (), "missing-specversion"),
    ("26 time null", text(time=None), (), ACCEPTED),
    ("26 time number", text(time=1717245296), (), "bad-time"),
    ("26 time object", text(time={}), (), "bad-time"),
    ("26 dataschema", text(dataschema="https://example.com/schema"), (), ACCEPTED),
    ("26 dataschema empty", text(dataschema=""), (), "bad-dataschema"),
    ("26 dataschema number", text(dataschema=1), (), "bad-dataschema"),
    ('27 specversion "0.3"', text(specversion="0.3"), (), "bad-specversion"),
    ('27 specversion "1"', text(specversion="1"), (), "bad-specversion"),
    ("27 specversion 1.0", raw('"1.0"', b"1.0"), (), "bad-specversion"),
    ("28 data_base64", text(data=ABSENT, data_base64="AQID"), (), "data-base64"),
    ("28 data and data_base64", text(data_base64="AQID"), (), "data-base64"),
    ("28 data_base64 null", text(data_base64=None), (), ACCEPTED),
    ("28 JSON in data_base64", base64_of(BODY), (), ACCEPTED),
    ("28 JSON in data_base64, spaces around it", base64_of(b" " + BODY + b"\n"), (), ACCEPTED),
    (
        "28 JSON in data_base64, +json",
        base64_of(BODY, datacontenttype="application/vnd.acme+json"),
        (),
        ACCEPTED,
    ),
    ("28 JSON in data_base64, data null", base64_of(BODY, data=None), (), ACCEPTED),
    ("28 JSON in data_base64 and data", base64_of(BODY, data={}), (), "data-base64"),
    ("28 JSON in data_base64 of no type", base64_of(BODY, datacontenttype=ABSENT), (), "data-base64"),
    (
        "28 JSON in data_base64 of another type",
        base64_of(BODY, datacontenttype="text/plain"),
        (),
        "data-base64",
    ),
    ("28 data_base64 of an array", base64_of(b"[]"), (), "data-base64"),
    ("28 data_base64 of broken JSON", base64_of(b'{"a":1,"a":2}'), (), "data-base64"),
    ("28 data_base64 of deep JSON", base64_of(b'{"a":' * 70 + b"1" + b"}" * 70), (), "data-base64"),
    ("28 data_base64 of deep JSON never closed", base64_of(b"[" * 50_000), (), "data-base64"),
    ("28 data_base64 of bytes", base64_of(b"\x01\x02\xff"), (), "data-base64"),
    ("28 data_base64 of nothing", base64_of(b""), (), "data-base64"),
    ("28 data_base64 that is no base64", base64_of(BODY, data_base64="e30"), (), "data-base64"),
    ("28 data_base64 that is not ASCII", base64_of(BODY, data_base64="é30="), (), "data-base64"),
    ("28 data_base64 number", base64_of(BODY, data_base64=1), (), "data-base64"),
    ("28 JSON in data_base64, wrong name beside it", base64_of(BODY, My_Attr="x"), (), "bad-attribute-name"),
    ("29 data absent", text(data=ABSENT), (), ACCEPTED),
    ("29 data null", text(data=None), (), ACCEPTED),
    ("29 data string", text(data="x"), (), "bad-data"),
    ("29 data JSON in a string", text(data='{"tokens":1}'), (), "bad-data"),
    ("29 data array", text(data=[{"tokens": 1}]), (), "bad-data"),
    ("29 data number", text(data=1), (), "bad-data"),
    ("29 data true", text(data=True), (), "bad-data"),
    ("30 text/plain", text(datacontenttype="text/plain", data="x"), (), "bad-datacontenttype"),
    ("30 text/plain, no data", text(datacontenttype="text/plain", data=ABSENT), (), "bad-datacontenttype"),
    ("30 xml", text(datacontenttype="application/xml", data="<a/>"), (), "bad-datacontenttype"),
    ("30 json in its name only", text(datacontenttype="application/jsonx"), (), "bad-datacontenttype"),
    ("30 number", text(datacontenttype=1), (), "bad-datacontenttype"),
    ("30 empty", text(datacontenttype=""), (), "bad-datacontenttype"),
    ("30 with parameters", text(datacontenttype="Application/JSON; charset=utf-8"), (), ACCEPTED),
    ("30 +json", text(datacontenttype="application/vnd.acme.v1+json"), (), ACCEPTED),
    ("30 null", text(datacontenttype=None), (), ACCEPTED),
    ("31 a type that no meter knows", text(type="unheard.of"), (), ACCEPTED),
    ("32 upper case", text(traceParent="x"), (), "bad-attribute-name"),
    ("32 underscore", text(My_Attr="x"), (), "bad-attribute-name"),
    ("32 empty name", text(**{"": "x"}), (), "bad-attribute-name"),
    ("32 not ASCII", text(größe="x"), (), "bad-attribute-name"),
    ("32 string extension", text(partitionkey="x"), (), ACCEPTED),
    ("32 empty extension", text(partitionkey=""), (), ACCEPTED),
    ("32 boolean extension", text(sampled=True), (), ACCEPTED),
    ("32 largest integer extension", text(rate=2**31 - 1), (), ACCEPTED),
    ("32 smallest integer extension", text(rate=-(2**31)), (), ACCEPTED),
    ("32 integer extension beyond 32 bits", text(rate=2**31), (), "bad-attribute"),
    ("32 fraction as extension", text(rate=1.5), (), "bad-attribute"),
    ("32 object as extension", text(context={}), (), "bad-attribute"),
    ("32 array as extension", text(context=[1]), (), "bad-attribute"),
    ("32 control character in extension", text(context="\n"), (), "bad-attribute"),
    ("32 null extension", text(context=None), (), ACCEPTED),
    ("33 id of 1,024 bytes", text(id="i" * 1024), (), ACCEPTED),
    ("33 id of 1,025 bytes", text(id="i" * 1025), (), "attribute-too-long"),
    ("33 id of 10 KB", text(id="i" * 10_240), (), "attribute-too-long"),
    ("33 subject of 10 KB", text(subject="s" * 10_240), (), "attribute-too-long"),
    ("33 subject of 1,026 bytes in 513 characters", text(subject="é" * 513), (), "attribute-too-long"),
    ("33 source of 1,025 bytes", text(source="s" * 1025), (), "attribute-too-long"),
    ("33 type of 1,025 bytes", text(type="t" * 1025), (), "attribute-too-long"),
]

TIME: list[Case] = [
    *((f"34 {bad!r}", text(time=bad), (), "bad-time") for bad in (
        "yesterday", "2024-06-01", "2024-06-01T12:34:56", "2024-13-01T12:34:56Z", "2024-02-30T12:34:56Z",
        "2024-06-01T25:34:56Z", "Sat, 01 Jun 2024 12:34:56 GMT", "1717245296", "",
        "2024-06-01T12:34:56.1234567890Z",
    )),
    ("35 year 2999", text(time="2999-01-01T00:00:00Z"), (), "future"),
    ("35 year 9999", text(time="9999-12-31T23:59:59Z"), (), "future"),
    ("35 at the future limit", text(time="2024-06-02T12:35:00Z"), (), ACCEPTED),
    ("35 beyond the future limit", text(time="2024-06-02T12:35:00.000000001Z"), (), "future"),
    ("36 year 1", text(time="0001-01-01T00:00:00Z"), (), "beyond-horizon"),
    ("36 1969", text(time="1969-12-31T23:59:59Z"), (), "beyond-horizon"),
    ("36 at the horizon", text(time="2024-04-30T12:35:00Z"), (), ACCEPTED),
    ("36 beyond the horizon", text(time="2024-04-30T12:34:59.999999999Z"), (), "beyond-horizon"),
    ("37 leap second", text(time="2016-12-31T23:59:60Z"), (), "bad-time"),
    ("38 lower case", text(time="2024-06-01t12:34:56z"), (), ACCEPTED),
    ("39 last nanosecond of the day", text(time="2024-05-31T23:59:59.999999999Z"), (), ACCEPTED),
    ("40 +14:00", text(time="2024-06-01T12:34:56+14:00"), (), ACCEPTED),
    ("40 -12:00", text(time="2024-06-01T12:34:56-12:00"), (), ACCEPTED),
]  # fmt: skip

VALUES: list[Case] = [
    *((f"{case} {number[:20]} passes to the meter", data(b'"tokens":' + number.encode()), (), ACCEPTED) for case, number in (
        (42, "9007199254740993"), (43, "1e-12"), (44, "-5"), (45, "1e400"), (45, "9" * 400), (48, "-0"),
        (49, "0." + "1" * 30), (49, "1.50"), (45, "1" * 4300),
    )),
    ("45 9 x 5000 digits", data(b'"tokens":' + b"9" * 5000), (), "number-too-long"),
    ("45 5,000 decimals", data(b'"tokens":0.' + b"1" * 5000), (), "number-too-long"),
    ("46 numeric text is the meter's affair", data(b'"tokens":"NaN"'), (), ACCEPTED),
]  # fmt: skip

SIZE: list[Case] = [
    ("50 at the limit", text(data={"a": "x" * (LIMITS.max_event_bytes - len(text(data={"a": ""})))}), (), ACCEPTED),
    ("50 one byte more", text(data={"a": "x" * (LIMITS.max_event_bytes - len(text(data={"a": ""})) + 1)}), (), "too-large"),
    ("50 1.1 MB, binary", b'"' + b"x" * 1_100_000 + b'"', binary(), "too-large"),
    ("50 64 KiB", text(data={"a": "x" * (65_536 - len(text(data={"a": ""})))}), (), ACCEPTED),
    ("51 50,000 arrays", data(b'"a":' + b"[" * 50_000 + b"]" * 50_000), (), "too-deep"),
    ("51 50,000 arrays never closed", b"[" * 50_000, (), "too-deep"),
    ("51 1,000 objects", data(b'"a":' + b'{"a":' * 1000 + b"1" + b"}" * 1000), (), "too-deep"),
    ("51 64 levels", data(b'"a":' + b"[" * 62 + b"]" * 62), (), ACCEPTED),
    ("51 65 levels", data(b'"a":' + b"[" * 63 + b"]" * 63), (), "too-deep"),
    ("51 extension of 300 levels", raw('"specversion"', b'"a":' + b"[" * 300 + b"]" * 300 + b',"specversion"'), (), "too-deep"),
    ("51 many brackets side by side", data(b'"a":[' + b",".join([b"[]"] * 500) + b"]"), (), ACCEPTED),
    ("51 brackets in a text", data(b'"a":"' + b'[{\\"' * 500 + b'"'), (), ACCEPTED),
    ("51 65 levels, binary", b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", binary(), "too-deep"),
    ("52 10,000 members", text(data={f"m{number}": number for number in range(10_000)}), (), ACCEPTED),
    ("53 gzip", gzip.compress(text()), (), "bad-encoding"),
    ("53 gzip, declared", gzip.compress(text()), [STRUCTURED, ("content-encoding", b"gzip")], "bad-encoding"),
]  # fmt: skip

KAFKA: list[Case] = [
    ("61 tombstone", None, (), "empty-value"),
    ("61 tombstone, structured", None, [STRUCTURED], "empty-value"),
    ("61 empty value, structured", b"", [STRUCTURED], "empty-value"),
    ("62 structured", text(), [STRUCTURED], ACCEPTED),
    ("62 any case", text(), [("Content-Type", b"Application/CloudEvents+JSON")], ACCEPTED),
    ("62 without +json", text(), [("content-type", b"application/cloudevents")], ACCEPTED),
    ("62 no content type", text(), [("traceparent", b"00-1")], ACCEPTED),
    ("62 application/json without attributes", text(), [("content-type", b"application/json")], ACCEPTED),
    ("63 binary", BODY, binary(), ACCEPTED),
    ("63 binary without content type", BODY, binary()[1:], ACCEPTED),
    ("63 binary, headers in another order", BODY, binary()[::-1], ACCEPTED),
    ("63 binary, upper-case prefix", BODY, [(key.replace("ce_", "CE_"), raw) for key, raw in binary()], ACCEPTED),
    ("63 binary without data", None, binary(), ACCEPTED),
    ("63 binary, data null", b"null", binary(), ACCEPTED),
    ("63 binary, zero bytes", b"", binary(), ACCEPTED),
    ("63 binary, data text", b'"x"', binary(), "bad-data"),
    ("63 binary, broken data", b'{"a":', binary(), "bad-json"),
    ("63 binary, two members behind the data", b'{"a":1},"source":"x"', binary(), "bad-json"),
    ("63 binary, duplicate member", b'{"a":1,"a":1}', binary(), "duplicate-member"),
    ("63 binary, data in a header", BODY, [*binary(), ("ce_data", b"{}")], "bad-attribute-name"),
    ("63 binary, ce_datacontenttype equal", BODY, typed(JSON_TYPE, b"application/json"), ACCEPTED),
    ("63 binary, ce_datacontenttype in another case", BODY, typed("Application/JSON", b"application/json"), ACCEPTED),
    ("63 binary, ce_datacontenttype with parameters", BODY, typed(JSON_TYPE, b"application/json; charset=utf-8"), ACCEPTED),
    ("63 binary, ce_datacontenttype alone", BODY, typed("text/json"), ACCEPTED),
    ("63 binary, ce_datacontenttype alone, no JSON", BODY, typed("text/plain"), "bad-datacontenttype"),
    ("63 binary, ce_datacontenttype alone, empty", BODY, typed(""), "bad-datacontenttype"),
    ("63 binary, ce_datacontenttype equal, no JSON", BODY, typed("text/plain", b"text/plain"), "bad-datacontenttype"),
    ("66 ce_datacontenttype contradicts the content type", BODY, typed("text/plain", b"application/json"), "header-differs"),
    ("66 ce_datacontenttype is another JSON type", BODY, typed("text/json", b"application/json"), "header-differs"),
    ("66 ce_datacontenttype repeats the value's", text(datacontenttype=JSON_TYPE), [STRUCTURED, DATA_TYPE], ACCEPTED),
    ("66 ce_datacontenttype beside none", text(), [STRUCTURED, DATA_TYPE], ACCEPTED),
    ("66 ce_datacontenttype beside null", text(datacontenttype=None), [STRUCTURED, DATA_TYPE], ACCEPTED),
    ("66 ce_datacontenttype alone, no content type", text(), [DATA_TYPE], ACCEPTED),
    ("66 ce_datacontenttype contradicts the value's", text(datacontenttype="text/json"), [STRUCTURED, DATA_TYPE], "header-differs"),
    ("66 ce_datacontenttype no JSON beside none", text(), [STRUCTURED, ("ce_datacontenttype", b"text/plain")], "header-differs"),
    ("66 ce_datacontenttype beside a number", text(datacontenttype=1), [STRUCTURED, DATA_TYPE], "bad-datacontenttype"),
    ("67 ce_datacontenttype null", BODY, [*binary(), ("ce_datacontenttype", None)], "bad-header"),
    ("70 ce_datacontenttype twice", BODY, [*binary(), DATA_TYPE, DATA_TYPE], "repeated-header"),
    ("63 binary, upper-case attribute", BODY, [*binary(), ("ce_TraceParent", b"1")], "bad-attribute-name"),
    ("63 binary, extension", BODY, [*binary(), ("ce_traceparent", b"1")], ACCEPTED),
    ("63 binary, control character", BODY, [*binary(), ("ce_traceparent", b"\n")], "bad-attribute"),
    ("64 binary, no type", BODY, binary(type=ABSENT), "missing-type"),
    ("65 binary, wrong specversion", BODY, binary(specversion="0.3"), "bad-specversion"),
    ("66 header contradicts the value", text(), [STRUCTURED, ("ce_id", b"other")], "header-differs"),
    ("66 header beside no attribute", text(), [STRUCTURED, ("ce_traceparent", b"1")], "header-differs"),
    ("66 header repeats the value", text(), [STRUCTURED, ("ce_id", GOOD["id"].encode())], ACCEPTED),
    ("66 header repeats an integer", text(rate=5), [STRUCTURED, ("ce_rate", b"5")], ACCEPTED),
    ("67 null header", BODY, [*binary(id=ABSENT), ("ce_id", None)], "bad-header"),
    ("67 null content type", text(), [("content-type", None)], "bad-header"),
    ("67 header not UTF-8", BODY, [*binary(id=ABSENT), ("ce_id", b"\xff")], "bad-header"),
    ("67 foreign header not UTF-8", text(), [("trace", b"\xff"), ("span", None)], ACCEPTED),
    ("68 unknown content type", text(), [("content-type", b"text/plain")], "bad-content-type"),
    ("68 another event format", text(), [("content-type", b"application/cloudevents+avro")], "bad-content-type"),
    ("68 unknown content type, binary", b"<a/>", [("content-type", b"text/xml"), *binary()[1:]], "bad-datacontenttype"),
    ("69 batch", b"[" + text() + b"]", [("content-type", b"application/cloudevents-batch+json")], "batch-in-record"),
    ("69 batch, any case", b"[]", [("content-type", b"APPLICATION/CloudEvents-Batch")], "batch-in-record"),
    ("70 attribute twice", BODY, [*binary(), ("ce_id", b"1")], "repeated-header"),
    ("70 attribute twice, other case", BODY, [*binary(), ("CE_id", GOOD["id"].encode())], "repeated-header"),
    ("70 content type twice", text(), [STRUCTURED, STRUCTURED], "repeated-header"),
    ("70 foreign header twice", text(), [("trace", b"1"), ("trace", b"2")], ACCEPTED),
]  # fmt: skip

CASES = [*JSON, *ENCODING, *ENVELOPE, *TIME, *VALUES, *SIZE, *KAFKA]


@pytest.mark.parametrize(
    ("value", "headers", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_case(value: bytes | None, headers: RecordHeaders, expected: str | None) -> None:
    assert reason(value, headers) == expected


HOSTILE = [
    "'); DROP TABLE events; --", "' OR '1'='1", "${jndi:ldap://x/a}", "../../etc/passwd", "<script>alert(1)</script>",
    "__proto__", "null", "NaN", "true", "😀", "\u00e9", "e\u0301", "\"quoted\"", "back\\slash", "s" * 200, "a|b", " a ",
    "١٢٣", "\u202eabc", "a\u00a0b",
]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE)
def test_case_55_hostile_text_is_kept_verbatim(hostile: str) -> None:
    member = hostile + "\n\t"  # in data, line feeds and tabs are text like any other
    changes: dict[str, Any] = {name: hostile for name in ("id", "source", "type", "subject")}
    for spelling in (
        text(**changes, data={member: member}),
        json.dumps({**GOOD, **changes, "data": {member: member}}).encode(),
    ):
        event = read(take(spelling))
        assert (event.id, event.source, event.type, event.subject) == (hostile,) * 4
        assert json.loads(bytes(event.data)) == {member: member}
    attributes = read(take(BODY, binary(**changes)))
    assert (attributes.id, attributes.source, attributes.type, attributes.subject) == (hostile,) * 4


def test_case_60_a_refused_event_may_come_again() -> None:
    assert reason(text(data=[])) == "bad-data"
    assert take(text()).identity == take(text()).identity


def test_absent_time_is_the_arrival() -> None:
    for absent in (text(time=ABSENT), text(time=None)):
        assert read(take(absent)).time_ns == RECEIVED_AT_MS * 1_000_000


def test_every_reason_is_documented_and_tested() -> None:
    documented = README.read_text()
    tested = {case[3] for case in CASES} - {None}
    for slug in sorted(filter(None, tested)):
        assert f"`{slug}`" in documented, slug
    raised: set[str] = set()
    for module in ("metering/event", "metering/cloudevent", "values/strict_json", "values/timestamp"):
        source = (CORE / f"{module}.py").read_text()
        raised |= {
            piece.split('"')[0] for piece in source.replace('(\n            "', '("').split('Rejected("')[1:]
        }
    assert raised - tested == set()
