"""State that an earlier version stored: each kind of value decodes to what it was, and is written as the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine.changelog import Changelog
from tests.upgrade.codecs import CODECS, agrees, kind_of, plain

RECORDED: list[dict[str, Any]] = json.loads((Path(__file__).parent / "state.json").read_text())


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


def test_a_record_may_grow_at_its_end_only() -> None:
    assert agrees([1, "a", {"x": [2, 0], "y": 1}], [1, "a", {"x": [2]}])
    assert not agrees([1], [1, "a"])
    assert not agrees([0, 1], [1])
    assert not agrees({"y": 1}, {"x": 1})
