"""core.billing.stripe_meter_commands: what may be mapped, what may change, and that no usage is sent twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.billing.stripe_meter import window_end_ms, window_ms
from pipeline.core.values import timestamp
from tests.core.billing.stripe_log import DAY_MS, FOUND, HOUR_MS, METER, connected, install, mapping
from tests.fixtures.control_log import AT, AT_MS

LATER = "2026-02-01T00:00:00.000Z"
LATER_MS = timestamp.ms_of(LATER)


def test_a_mapping_has_stripes_keys_and_begins_with_the_window_in_progress() -> None:
    log, app = connected()
    made = log.do("stripe-meter.create", mapping(app), at_ms=AT_MS + HOUR_MS + 5)
    assert {name: value for name, value in made.items() if name not in ("id", "meterId")} == {
        "appId": app, "meterSlug": "tokens", "eventName": "tokens", "stripeMeterId": "mtr_1",
        "customerKey": "stripe_customer_id", "valueKey": "value", "window": "HOUR", "multiplier": "1",
        "from": "2026-01-01T01:00:00.000Z", "createdAt": "2026-01-01T01:00:00.005Z",
        "updatedAt": "2026-01-01T01:00:00.005Z",
    }  # fmt: skip
    assert made["meterId"] == log.body("meter", "tokens")["id"]
    assert "fromAt" in log.body("stripe-meter", made["id"])


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"meterSlug": "no"}, "stripe-meter meterSlug names no meter: no"),
        (
            {"meterSlug": "users"},
            "meter users's aggregation is UNIQUE_COUNT, but only meters that add up can be sent: SUM, COUNT",
        ),
        ({"checked": None}, "stripe-meter eventName tokens has no meter at Stripe: create it there first"),
        (
            {"checked": {**FOUND, "active": False}},
            "stripe-meter eventName tokens has a meter at Stripe that is not active",
        ),
        (
            {"checked": {**FOUND, "formula": "count"}},
            "stripe-meter eventName tokens has a meter at Stripe with the formula count: usage is sent as sums, so its "
            "formula must be sum",
        ),
        ({"valueKey": "n"}, "stripe-meter valueKey must be value, as the meter at Stripe has it, or absent"),
        ({"multiplier": 0}, "stripe-meter multiplier must be above 0"),
        ({"multiplier": "-0.1"}, "stripe-meter multiplier must be above 0"),
        ({"window": "MONTH"}, "stripe-meter window must be one of HOUR, DAY"),
        (
            {"dimensions": {"region": "region"}},
            "stripe-meter dimensions has region, which is no group-by key of the meter: it has kind, model",
        ),
        (
            {"dimensions": {"model": "value"}},
            "stripe-meter dimensions cannot use value, which the payload has already",
        ),
        (
            {"dimensions": {"model": "a", "kind": "a"}},
            "stripe-meter dimensions must not use the same member of the payload twice",
        ),
        (
            {"dimensions": {"model": "a[b]"}},
            "stripe-meter dimensions values must have 1 to 100 letters, digits and _ . -",
        ),
        (
            {"from": "2026-01-01T00:30:00Z"},
            "stripe-meter from must be the start of a window: a whole hour in UTC",
        ),
        (
            {"from": "2026-01-01T01:00:00Z", "window": "DAY"},
            "stripe-meter from must be the start of a window: a whole day in UTC",
        ),
        (
            {"from": "2025-11-27T00:00:00Z"},
            "stripe-meter from must lie within the last 35 days: Stripe takes no older usage",
        ),
    ],
)
def test_what_cannot_be_sent_is_refused_with_a_sentence(change: dict[str, Any], detail: str) -> None:
    log, app = connected()
    log.do("meter.create", {**METER, "slug": "users", "aggregation": "UNIQUE_COUNT"})
    assert log.refused("stripe-meter.create", mapping(app, **change)) == ("bad-stripe-meter", detail)


def test_multiplier_is_exact_plain_text() -> None:
    log, app = connected()
    sent = {
        "multiplier": "1e-3",
        "dimensions": {"model": "m", "kind": "k"},
        "from": "2025-12-31T00:00:00+00:00",
    }
    made = log.do("stripe-meter.create", mapping(app, **sent))
    assert (made["multiplier"], made["from"]) == ("0.001", "2025-12-31T00:00:00.000Z")
    assert list(made["dimensions"].items()) == [("kind", "k"), ("model", "m")]


def test_a_meter_of_stripe_gets_the_usage_of_one_mapping() -> None:
    log, app = connected()
    first = log.do("stripe-meter.create", mapping(app))["id"]
    assert log.refused("stripe-meter.create", mapping(app)) == (
        "stripe-meter-conflict",
        f"the Stripe meter tokens gets the usage of the meter tokens already, by the mapping {first}: at Stripe the "
        "two could not be distinguished",
    )
    log.do("stripe-meter.create", mapping(app, eventName="other"))  # one meter may go to several
    log.do("stripe-meter.create", mapping(install(log, "acct_2")))


@pytest.mark.parametrize("again", ["same app", "installed again"])
def test_after_a_mapping_has_ended_the_next_begins_where_it_ended(again: str) -> None:
    log, app = connected()
    first = log.do("stripe-meter.create", mapping(app))["id"]
    at_ms = AT_MS + 5 * HOUR_MS + 7
    if again == "same app":
        log.do("stripe-meter.delete", {"id": first}, at_ms=at_ms)
    else:
        log.do("app.uninstall", {"id": app}, at_ms=at_ms)
        app = install(log)
    sent = mapping(app, **{"from": "2026-01-01T05:00:00Z"})
    reply = log.run(log.command("stripe-meter.create", sent), at_ms + 1).reply
    assert (reply.error, reply.detail) == (
        "stripe-meter-conflict",
        "stripe-meter from must not be before 2026-01-01T06:00:00.000Z: earlier usage was sent by a mapping that has "
        "ended, and would be sent twice",
    )
    day = log.do("stripe-meter.create", mapping(app, eventName="x", window="DAY"), at_ms=at_ms + 1)
    assert day["from"] == AT
    assert log.do("stripe-meter.create", mapping(app), at_ms=at_ms + 1)["from"] == "2026-01-01T06:00:00.000Z"


@given(
    st.sampled_from(["HOUR", "DAY"]),
    st.sampled_from(["HOUR", "DAY"]),
    st.integers(0, 3 * DAY_MS),
    st.integers(0, DAY_MS),
)
def test_no_window_of_two_mappings_is_sent_twice(
    first: str, second: str, lived_ms: int, later_ms: int
) -> None:
    log, app = connected()
    old = log.do("stripe-meter.create", mapping(app, window=first))
    log.do("stripe-meter.delete", {"id": old["id"]}, at_ms=AT_MS + lived_ms)
    made = log.do("stripe-meter.create", mapping(app, window=second), at_ms=AT_MS + lived_ms + later_ms)
    from_ms = timestamp.ms_of(made["from"])
    sent_until_ms = AT_MS if not lived_ms else window_end_ms(old["window"], AT_MS + lived_ms)
    assert from_ms >= sent_until_ms
    assert from_ms % window_ms(made["window"]) == 0


CHANGES = [
    ({"multiplier": "2"}, "multiplier"),
    ({"window": "DAY"}, "window"),
    ({"dimensions": {"model": "m"}}, "dimensions"),
    ({"from": LATER}, "from"),
    ({"eventName": "other", "checked": FOUND}, "eventName"),
]


@pytest.mark.parametrize(("change", "member"), CHANGES)
def test_a_mapping_changes_until_its_first_window_begins(change: dict[str, Any], member: str) -> None:
    log, app = connected()
    begins = "2026-01-15T00:00:00Z"
    id = log.do("stripe-meter.create", mapping(app, **{"from": begins}))["id"]
    assert log.do("stripe-meter.update", {"id": id, **change})[member] == change[member]
    other = log.do("stripe-meter.create", mapping(app, eventName="begun"))["id"]
    reply = log.refused("stripe-meter.update", {"id": other, **change})
    assert reply == (
        "stripe-meter-conflict",
        f"stripe-meter {member} of the mapping {other} cannot be changed once usage is sent, which it is from {AT} on: "
        "delete it and create another",
    )


def test_metadata_changes_always_app_and_meter_never() -> None:
    log, app = connected()
    made = log.do("stripe-meter.create", mapping(app))
    changed = log.do("stripe-meter.update", {**made, "metadata": {"a": "b"}}, at_ms=AT_MS + DAY_MS)
    assert changed["metadata"] == {"a": "b"}
    for member in ("appId", "meterSlug"):
        reason, detail = log.refused("stripe-meter.update", {"id": made["id"], member: "other"})
        assert reason == "stripe-meter-conflict"
        assert detail == (
            f"stripe-meter {member} of the mapping {made['id']} cannot be changed: delete it and create another"
        )


def test_a_start_cannot_be_moved_into_the_past() -> None:
    log, app = connected()
    id = log.do("stripe-meter.create", mapping(app, **{"from": LATER}))["id"]
    assert log.refused("stripe-meter.update", {"id": id, "from": AT}) == (
        "bad-stripe-meter",
        "stripe-meter from must be later than now: what lies before can only be sent by a new mapping",
    )


def test_a_meter_and_its_dimensions_stay_while_they_are_sent() -> None:
    log, app = connected()
    id = log.do("stripe-meter.create", mapping(app, dimensions={"model": "m"}))["id"]
    assert log.refused("meter.delete", {"slug": "tokens"}) == (
        "meter-conflict",
        f"usage of meter tokens is sent to Stripe by the mapping {id}: delete the mapping first",
    )
    assert log.refused("meter.update", {"slug": "tokens", "groupBy": {"kind": "$.kind"}}) == (
        "meter-conflict",
        f"meter group by key model cannot be removed: the mapping {id} sends it to Stripe",
    )
    log.do("meter.update", {"slug": "tokens", "groupBy": {"model": "$.model"}})
    log.do("stripe-meter.delete", {"id": id})
    log.do("meter.delete", {"slug": "tokens"})
    assert log.refused("stripe-meter.delete", {"id": id})[0] == "not-found"
