"""State that an earlier version stored: each kind of value decodes to what it was, and is written as the same bytes."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine.changelog import Changelog
from pipeline.settings import Settings
from pipeline.stores.kafka import topics
from tests.upgrade.codecs import CODECS, agrees, kind_of, plain
from tests.upgrade.record import COMMIT, HERE
from tests.upgrade.state import stored

RECORDED: list[dict[str, Any]] = json.loads((HERE / "state.json").read_text())


@pytest.mark.parametrize("record", RECORDED, ids=lambda record: f"{record['kind']} {record['key'][:16]}")
def test_a_stored_value_decodes_for_ever(record: dict[str, Any]) -> None:
    codec = CODECS[record["kind"]]
    value = bytes.fromhex(record["value"])
    decoded = codec.decode(value)
    assert agrees(plain(decoded), record["decoded"])
    again = codec.encode(decoded)
    assert codec.decode(again) == decoded
    if plain(decoded) == record["decoded"]:  # nothing was added to the record's end since
        assert again == value


@pytest.mark.parametrize(
    "record", [one for one in RECORDED if one["key"]], ids=lambda record: record["key"][:24]
)
def test_a_key_is_of_the_same_kind_for_ever(record: dict[str, Any]) -> None:
    stage = record["kind"].partition(" ")[0]
    key, value = bytes.fromhex(record["key"]), bytes.fromhex(record["value"])
    assert kind_of(stage, key) == record["kind"]
    changelog = Changelog(f"{stage}-changelog")
    assert list(changelog.pack({key: value})) == [(key, value)]
    assert list(changelog.unpack(key, value)) == [(key, value)]


def test_every_kind_is_recorded() -> None:
    assert {record["kind"] for record in RECORDED} == CODECS.keys()


def test_every_stage_with_a_table_has_recorded_values() -> None:
    """A stage keeps a table when it has a changelog; the control stage's is `control`."""
    declared = topics.load(Settings.model_construct())
    with_tables = {name.removesuffix("-changelog") for name in declared if name.endswith("-changelog")}
    assert {record["kind"].partition(" ")[0] for record in RECORDED} == with_tables


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder that was recorded."""
    found = tmp_path_factory.mktemp("recorded")
    with tarfile.open(HERE / f"{COMMIT}.tar.xz") as archive:
        archive.extractall(found, filter="data")
    return found


def test_every_value_of_the_recorded_tables_is_read_and_written_as_the_same_bytes(folder: Path) -> None:
    values = Counter[str]()
    for kind, pairs in stored(folder).items():
        for _, value in pairs:
            again = CODECS[kind].encode(CODECS[kind].decode(value))
            assert again == value or CODECS[kind].decode(again) == CODECS[kind].decode(value)
            values[kind] += 1
    assert values["dedupe entry"] > 1_000 and values["aggregate window"] > 2_000
    assert len(values) > 20


def test_a_value_of_no_known_kind_is_refused() -> None:
    for stage, key in (
        ("aggregate", b"\x01\xc8\x4c\x50z"),
        ("alert", b"z"),
        ("sink", b"a"),
        ("dedupe", b"a"),
    ):
        with pytest.raises(LookupError, match=f"of the table of {stage}"):
            kind_of(stage, key)


def test_a_record_may_grow_at_its_end_only() -> None:
    assert agrees([1, "a", {"x": [2, 0], "y": 1}], [1, "a", {"x": [2]}])
    assert not agrees([1], [1, "a"])
    assert not agrees([0, 1], [1])
    assert not agrees({"y": 1}, {"x": 1})
