"""Contracts: the generated files are those of the code, and every example decodes for ever."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from pipeline import contracts
from pipeline.agents.ingest_rejects import dead_letter
from pipeline.contracts import ROOT, WIRES
from pipeline.core.metering.identity import CONTENT_BYTES, identity, subject_hash
from pipeline.core.metering.meter import STORED, Meter
from pipeline.core.metering.refusal import REASONS
from pipeline.engine.chunk import Chunk
from pipeline.errors import Rejected
from pipeline.records import KEY, AcceptedBatch, Definition, Event
from pipeline.settings import Settings
from pipeline.stores.kafka import topics
from tests.fixtures.fake_transaction import FakeRecord

EXAMPLES = ROOT / "schemas/examples"
README = (ROOT / "schemas/README.md").read_text("utf-8")
DECLARED = topics.load(Settings.model_construct())
METHODS = {"get", "put", "post", "delete", "patch", "head"}


def named(record: str) -> list[Path]:
    return sorted((EXAMPLES / record).glob("*.json"))


every_record = pytest.mark.parametrize("record", WIRES)
every_example = pytest.mark.parametrize(
    ("record", "path"),
    [pytest.param(record, path, id=f"{record}/{path.stem}") for record in WIRES for path in named(record)],
)


def kind_of(record: str) -> Any:
    wire = WIRES[record]
    return list[wire.record] if wire.listed else wire.record  # type: ignore[name-defined]


def spelled(text: str | bytes) -> Any:
    """JSON with numbers as they are spelled, so that 0.1 and 0.10 differ."""
    return json.loads(text, parse_int=str, parse_float=str)


def items(record: str, path: Path) -> list[Any]:
    """The records of an example, as plain JSON."""
    found = json.loads(path.read_text("utf-8"), parse_float=lambda text: min(float(text), 1e300))
    return found if WIRES[record].listed else [found]


@pytest.fixture(scope="module")
def made() -> dict[Path, str]:
    return contracts.files()


def test_the_files_are_what_the_code_says(made: dict[Path, str]) -> None:
    old = [str(path) for path, text in made.items() if (ROOT / path).read_text("utf-8") != text]
    assert not old, "`python -m pipeline.contracts` writes them"


def test_writing_makes_every_file_and_removes_what_is_no_record(
    tmp_path: Path, made: dict[Path, str]
) -> None:
    old = tmp_path / "schemas/records/gone.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    contracts.write(tmp_path)
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")} == set(made)


def test_no_schema_lies_around_without_a_record() -> None:
    assert {path.stem for path in (ROOT / "schemas/records").iterdir()} == set(WIRES)
    assert {path.name for path in EXAMPLES.iterdir()} == set(WIRES)


@every_record
def test_a_schema_is_valid_and_describes_each_field(record: str) -> None:
    schema = contracts.schema(record)
    Draft202012Validator.check_schema(schema)
    kind = WIRES[record].record
    assert schema["title"] == kind.__name__
    assert schema["description"]
    names = [field.name for field in msgspec.structs.fields(kind)]
    shown = schema.get("properties") or [item["title"] for item in schema["prefixItems"]]
    assert list(shown) == names


@every_record
def test_there_are_two_examples_at_least(record: str) -> None:
    assert len(named(record)) >= 2


@every_example
def test_an_example_decodes_and_encodes_to_the_same(record: str, path: Path) -> None:
    text = path.read_bytes()
    again = spelled(msgspec.json.encode(msgspec.json.decode(text, type=kind_of(record))))
    old = spelled(text)
    # It may have been written before some fields came.
    again = (
        [_cut(*pair) for pair in zip(again, old, strict=True)] if WIRES[record].listed else _cut(again, old)
    )
    assert again == old


def _cut(new: Any, old: Any) -> Any:
    """`new` without the items and members that no record had when `old` was written, records within it too."""
    if isinstance(new, list) and isinstance(old, list):
        return [_cut(*pair) for pair in zip(new, old, strict=False)]
    if isinstance(new, dict) and isinstance(old, dict):
        return {name: _cut(new[name], old[name]) for name in old}
    return new


@every_example
def test_an_example_is_valid(record: str, path: Path) -> None:
    validator = Draft202012Validator(contracts.schema(record))
    for item in items(record, path):
        validator.validate(item)


@every_example
def test_a_record_of_a_newer_version_is_read_as_before(record: str, path: Path) -> None:
    """An array has one more item at its end, an object one more member."""
    validator, kind = Draft202012Validator(contracts.schema(record)), WIRES[record].record
    for item in items(record, path):
        now = msgspec.json.decode(json.dumps(item), type=kind)
        whole = _plain(now)
        newer = [*whole, {"new": 1}] if isinstance(whole, list) else {**whole, "new": {"a": 1}}
        validator.validate(newer)
        assert _plain(msgspec.json.decode(json.dumps(newer), type=kind)) == _plain(now)


def _plain(record: msgspec.Struct) -> Any:
    return json.loads(msgspec.json.encode(record))


@every_example
def test_a_schema_refuses_what_the_decoder_refuses(record: str, path: Path) -> None:
    """One field less than is required, and a first field of another type."""
    validator = Draft202012Validator(contracts.schema(record))
    kind = WIRES[record].record
    required = sum(field.required for field in msgspec.structs.fields(kind))
    for item in items(record, path):
        members = list(item) if isinstance(item, list) else list(item.items())
        wrong: list[Any] = [members[: required - 1], [True, *members[1:]]]
        if isinstance(item, dict):
            wrong = [dict(members[: required - 1]), {**item, members[0][0]: True}]
        for broken in wrong:
            assert not validator.is_valid(broken)
            with pytest.raises(msgspec.ValidationError):
                _decode_whole(kind, broken)


def _decode_whole(kind: Any, item: Any) -> None:
    record = msgspec.json.decode(json.dumps(item), type=kind)
    if isinstance(event := getattr(record, "event", None), msgspec.Raw):
        msgspec.json.decode(event, type=Event)


@pytest.mark.parametrize("path", named("accepted-batch"), ids=lambda path: path.stem)
def test_the_keys_of_a_batch_are_those_of_its_events(path: Path) -> None:
    """Identity and hashes decide what is a repeat and where state is: they must never come out otherwise."""
    batch = msgspec.json.decode(path.read_bytes(), type=AcceptedBatch)
    keys = list(struct.iter_unpack(KEY, batch.keys))
    events = [msgspec.json.decode(raw, type=Event) for raw in batch.events]
    assert [(key[0], key[2], key[3]) for key in keys] == [
        (
            identity(event.namespace, event.source, event.id),
            event.received_at_ms,
            subject_hash(event.namespace, event.subject),
        )
        for event in events
    ]
    assert all(len(key[1]) == CONTENT_BYTES for key in keys)


@pytest.mark.parametrize("path", named("definition"), ids=lambda path: path.stem)
def test_a_stored_meter_is_still_a_meter(path: Path) -> None:
    definition = msgspec.json.decode(path.read_bytes(), type=Definition)
    meter = Meter.of(definition)
    if definition.body is None or definition.kind != "meter":
        assert meter is None
    else:
        assert meter is not None
        beside = {name: definition.body[name] for name in STORED if name in definition.body}
        assert {**meter.body(), **beside} == definition.body
        assert beside["meterId"] == meter.meter_id


def test_each_topic_says_the_record_that_it_holds() -> None:
    says = {
        name: (match[2], match[1] is not None)
        for name, topic in DECLARED.items()
        if (match := re.search(r"\((list of )?([A-Z]\w+)\)", topic.holds))
    }
    assert says == {
        topic: (wire.record.__name__, wire.listed) for wire in WIRES.values() for topic in wire.topics
    }


def test_the_readme_names_the_record_of_every_topic() -> None:
    section = README.split("## Which topic holds which record")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.+?) \|", section, re.MULTILINE))
    assert rows.keys() == DECLARED.keys()
    for name, wire in WIRES.items():
        for topic in wire.topics:
            assert f"[{name}](records/{name}.json)" in rows[topic]
            assert rows[topic].startswith("array of ") == wire.listed


def test_the_readme_names_every_header_of_a_refused_record() -> None:
    record = FakeRecord(7, b"x" * (3 << 20), headers=[("h", b"x" * (1 << 20))])
    chunk = Chunk("events", 0, 7, 8, [record], 1)
    *_, headers = dead_letter(chunk, record, "default", Rejected("bad-json", "why"))
    names = {name for name, _ in headers}
    assert set(re.findall(r"^\| `(tallymark_\w+)` \|", README, re.MULTILINE)) == names


def test_the_readme_names_every_table_of_clickhouse() -> None:
    ddl = (ROOT / "schemas/clickhouse/1-tables.sql").read_text("utf-8")
    tables = set(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", ddl))
    section = README.split("## The tables of ClickHouse")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == tables


def test_every_answer_of_the_api_that_is_an_error_is_a_problem(made: dict[Path, str]) -> None:
    document = json.loads(made[Path("schemas/openapi.json")])
    operations = [
        operation
        for path in document["paths"].values()
        for method, operation in path.items()
        if method in METHODS
    ]
    assert len(operations) > 8
    shared = document["components"]["responses"]
    for operation in operations:
        for status, response in operation["responses"].items():
            found = shared[response["$ref"].rpartition("/")[2]] if "$ref" in response else response
            if status == "default" or (status >= "4" and "application/json" not in found["content"]):
                assert list(found["content"]) == ["application/problem+json"]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    defined = document["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert name in defined


def test_metrics_have_the_names_that_prometheus_asks_for() -> None:
    found = contracts.metrics()
    assert len({metric.name for metric in found}) == len(found)
    for metric in found:
        assert metric.name.startswith("tallymark_")
        assert metric.meaning
        assert metric.name.endswith("_total") == (metric.kind == "counter")


def test_the_queries_ask_for_metrics_that_there_are() -> None:
    names = {metric.name for metric in contracts.metrics()}
    for query in contracts.QUERIES.values():
        asked = {name.removesuffix("_bucket") for name in re.findall(r"tallymark_\w+", query)}
        assert asked and asked <= names


def test_the_readme_names_every_reason_of_a_meter() -> None:
    section = README.split("## What a meter refuses")[1].split("\n## ")[0]
    assert dict(re.findall(r"^\| `([a-z-]+)` \| (.+?) \|", section, re.MULTILINE)) == REASONS
