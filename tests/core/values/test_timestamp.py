"""RFC 3339 to nanoseconds: hand-made table, and laws against the calendar of the standard library."""

# ruff: noqa: RUF001 - a table, with digits that only look like digits

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.values.timestamp import parse_ns
from pipeline.errors import Rejected

S = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1969-12-31T23:59:59.9Z", -S // 10),
        ("2018-04-05T03:56:24Z", 1_522_900_584 * S),
        ("2018-04-05T03:56:24.123456789+02:00", 1_522_893_384_123_456_789),
        ("2018-04-05t03:56:24z", 1_522_900_584 * S),
        ("2018-04-05T03:56:24.5z", 1_522_900_584_500_000_000),
        ("2018-04-05T03:56:24-00:00", 1_522_900_584 * S),
        ("2018-04-05T03:56:24+14:00", (1_522_900_584 - 14 * 3600) * S),
        ("2018-04-05T03:56:24-12:00", (1_522_900_584 + 12 * 3600) * S),
        ("2018-04-05T03:56:24.25+05:45", (1_522_900_584 - 5 * 3600 - 45 * 60) * S + S // 4),
        ("2024-02-29T23:59:59.999999999Z", 1_709_251_199_999_999_999),
        ("0001-01-01T00:00:00Z", -62_135_596_800 * S),
        ("0001-01-01T00:00:00-23:59", (-62_135_596_800 + (23 * 60 + 59) * 60) * S),
        ("9999-12-31T23:59:59.999999999Z", 253_402_300_800 * S - 1),
    ],
)
def test_exact(text: str, expected_ns: int) -> None:
    assert parse_ns(text) == expected_ns
    assert parse_ns(text) == expected_ns  # once more, with the minute remembered


@pytest.mark.parametrize(
    "text",
    [
        "", "yesterday", "2018-04-05", "2018-04-05T03:56:24", "2018-04-05T03:56Z", "2018-04-05 03:56:24Z",
        "2018-13-05T03:56:24Z", "2018-00-05T03:56:24Z", "2018-02-30T03:56:24Z", "2023-02-29T00:00:00Z",
        "2018-04-05T24:00:00Z", "2018-04-05T25:56:24Z", "2018-04-05T03:60:24Z", "2018-04-05T03:56:61Z",
        "2016-12-31T23:59:60Z", "2016-12-31T23:59:60.5Z", "2018-04-05T03:56:24.Z", "2018-04-05T03:56:24.1234567890Z",
        "2018-04-05T03:56:24,5Z", "2018-04-05T03:56:24+0200", "2018-04-05T03:56:24+02", "2018-04-05T03:56:24+24:00",
        "2018-04-05T03:56:24+02:60", "2018-04-05T03:56:24ZZ", "2018-04-05T03:56:24Z\n", " 2018-04-05T03:56:24Z",
        "20180405T035624Z", "2018-W14-4T03:56:24Z", "18-04-05T03:56:24Z", "+2018-04-05T03:56:24Z",
        "-2018-04-05T03:56:24Z", "12018-04-05T03:56:24Z", "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:59.999999999+00:01", "9999-12-31T23:59:00-00:01",
        "1522900584", "1522900584.5",
        "Thu, 05 Apr 2018 03:56:24 GMT", "２０18-04-05T03:56:24Z", "2018-04-05T03:56:24.１Z", "2018-04-05T03:56:24.²Z",
        "2018-04-05T03:56:24.1_1Z", "2018-04-05T03:56:24.+1Z", "2018-04-05T03:56:24. 1Z", "2018-04-05T03:56:24.1",
        "2018-04-05T03:56:24x1Z", "2018-04-05T03:56:24\u0000", "2018-04-05T03:56:24−02:00",
    ],
)  # fmt: skip
def test_refused(text: str) -> None:
    parse_ns("2018-04-05T03:56:24Z")  # the minute is remembered, so the short way is tried too
    with pytest.raises(Rejected) as refused:
        parse_ns(text)
    assert refused.value.reason == "bad-time"
    assert len(refused.value.detail) < 200


@pytest.mark.parametrize("text", ["2018-04-05T03:56:24 02:00", "2018-04-05t03:56:24.123456789 02:00"])
def test_a_plus_that_a_url_made_a_space_is_pointed_out(text: str) -> None:
    with pytest.raises(Rejected, match="in a URL a \\+ has to be sent as %2B") as refused:
        parse_ns(text)
    assert refused.value.reason == "bad-time"


moments = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1))
offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59)


@given(moments, offsets, st.integers(0, 999), st.sampled_from("Tt"))
def test_any_moment_in_any_zone(moment: datetime, offset_min: int, ns: int, separator: str) -> None:
    utc = moment.replace(tzinfo=UTC)
    elapsed = utc - datetime(1970, 1, 1, tzinfo=UTC)
    expected_ns = (elapsed.days * 86_400 + elapsed.seconds) * S + elapsed.microseconds * 1000 + ns
    local = utc.astimezone(timezone(timedelta(minutes=offset_min)))
    digits = f"{local.microsecond:06}{ns:03}"
    sign, minutes = "-" if offset_min < 0 else "+", abs(offset_min)
    head = local.replace(tzinfo=None, microsecond=0).isoformat().replace("T", separator)
    assert parse_ns(f"{head}.{digits}{sign}{minutes // 60:02}:{minutes % 60:02}") == expected_ns
    written = utc.replace(tzinfo=None, microsecond=0).isoformat().replace("T", separator)
    assert parse_ns(f"{written}.{digits}Z") == expected_ns


@given(st.text(st.sampled_from("0123456789-:.TtZz+ "), max_size=40) | st.text(max_size=40))
def test_only_rejected_is_raised(text: str) -> None:
    try:
        parse_ns(text)
    except Rejected as refused:
        assert refused.reason == "bad-time"
