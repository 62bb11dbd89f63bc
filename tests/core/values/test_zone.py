"""Zones: which names mean the same everywhere, and anchors that keep the offset in which they were sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.values import timestamp, zone
from pipeline.errors import Rejected


@pytest.mark.parametrize("name", ["Europe/Berlin", "UTC", "America/Argentina/Buenos_Aires", "Asia/Kathmandu"])
def test_names_of_the_database(name: str) -> None:
    assert zone.named(name) == name
    assert zone.fixed_s(name) is None


@pytest.mark.parametrize(
    "name",
    ["localtime", "Factory", "posixrules", "right/Europe/Berlin", "posix/UTC", "europe/berlin", "Mars/Base",
     "Europe", "", "+01:00", "Z", "../../etc/passwd", "/etc/localtime", "Europe/Berlin\x00", "\ud800"],
)  # fmt: skip
def test_what_is_no_name(name: str) -> None:
    """Files of one machine, folders, other spellings: none means the same on another machine."""
    with pytest.raises(Rejected) as raised:
        zone.named(name)
    assert raised.value.reason == "bad-zone"
    assert raised.value.detail.isascii()


@given(
    st.integers(-62_000_000_000, 253_000_000_000).map(lambda at_s: at_s // 60 * 60), st.integers(-1439, 1439)
)
def test_a_text_keeps_its_offset_and_its_instant(at_s: int, minutes: int) -> None:
    name = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    text = zone.text_of(at_s, zone.offset_of(f"2026-01-01T00:00:00{name}"))
    assert timestamp.ms_of(text) == at_s * 1000
    assert zone.offset_of(text) == (zone.UTC if minutes == 0 else name)


def test_a_text_in_a_named_zone_can_be_read_again() -> None:
    for at_s in (0, 1_750_000_020, -3_000_000_000, -60_000_000_000):  # local time had odd seconds before 1893
        assert timestamp.ms_of(zone.text_of(at_s, "Europe/Berlin")) == at_s * 1000
