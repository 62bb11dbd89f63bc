"""Entitlements, grants, rules and endpoints are written as they were recorded, byte for byte, and all of them are read."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path

from tests.fixtures import quota_story

RECORDED = Path(__file__).parent.parent / "cases" / "quota-story.jsonl"


def test_the_story_is_written_as_it_was_recorded() -> None:
    recorded = RECORDED.read_bytes().splitlines()
    for number, (line, expected) in enumerate(zip_longest(quota_story.lines(), recorded), 1):
        assert line == expected, f"line {number} of {RECORDED.name}"
