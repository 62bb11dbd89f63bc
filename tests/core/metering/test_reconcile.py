"""The equations between the stages' counts, by table and by law."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.metering.reconcile import (
    FATES,
    MeterReport,
    MeterStored,
    PlaceStored,
    StoredTotals,
    UniqueDifference,
    WindowDifference,
    in_flight,
    meter_totals,
    reconcile,
)
from pipeline.records import Counts


def counts(stage: str, names: dict[str, int], namespace: str = "default", partition: int = 0) -> Counts:
    return Counts(stage, f"input-of-{stage}", partition, 0, "topic-id", {namespace: names})


INGEST = {"read": 100, "accepted": 90, "rejected:bad-json": 7, "rejected:missing-id": 3}
DEDUPE = {"read": 90, "unique": 80, "duplicate": 8, "conflict": 2}
AGGREGATE = {"read": 80, "counted": 70, "unmetered": 6, "invalid": 3, "rejected:window-closed": 1}
FATES_OF_ALL = {"counted": 70, "duplicate": 8, "conflict": 2, "rejected": 11, "unmetered": 6, "invalid": 3}


def whole() -> list[Counts]:
    return [counts("ingest", INGEST), counts("dedupe", DEDUPE), counts("aggregate", AGGREGATE)]


def test_a_finished_run_adds_up() -> None:
    report = reconcile(whole())
    (only,) = report.namespaces
    assert (report.ok, report.settled, report.differences) == (True, False, [])
    assert (only.read, only.fates, only.pending) == (100, FATES_OF_ALL, 0)
    assert only.reasons == {"bad-json": 7, "missing-id": 3, "window-closed": 1}


def test_nothing_read_adds_up() -> None:
    assert reconcile([]).ok


def test_partitions_are_summed() -> None:
    halves = [counts("ingest", {"read": 1, "accepted": 1}, partition=p) for p in range(3)]
    assert reconcile(halves).namespaces[0].read == 3


def test_namespaces_are_apart() -> None:
    report = reconcile([*whole(), counts("ingest", {"read": 5, "accepted": 4}, namespace="other")])
    assert [(n.namespace, bool(n.differences)) for n in report.namespaces] == [
        ("default", False),
        ("other", True),
    ]
    assert not report.ok


def test_what_is_between_stages_is_pending() -> None:
    behind = [
        counts("ingest", {"read": 10, "accepted": 10}),
        counts("dedupe", {"read": 7, "unique": 7}),
        counts("aggregate", {"read": 4, "counted": 4}),
    ]
    report = reconcile(behind)
    assert (report.ok, report.namespaces[0].pending, in_flight(behind)) == (True, 6, 6)


@pytest.mark.parametrize("stage", ["ingest", "dedupe", "aggregate"])
@pytest.mark.parametrize("by", [1, -1])
def test_any_count_that_is_off_by_one_is_seen_and_named(stage: str, by: int) -> None:
    base = {"ingest": INGEST, "dedupe": DEDUPE, "aggregate": AGGREGATE}
    for name in base[stage]:
        changed = {s: dict(names) for s, names in base.items()}
        changed[stage][name] += by
        report = reconcile([counts(s, names) for s, names in changed.items()])
        assert not report.ok
        assert any(f"{stage} read" in sentence for sentence in report.differences), (name, report.differences)


def test_a_stage_that_reads_more_than_it_was_given() -> None:
    report = reconcile(
        [counts("ingest", {"read": 1, "accepted": 1}), counts("dedupe", {"read": 2, "unique": 2})]
    )
    assert "default: dedupe read 2 events, but ingest passed on only 1." in report.differences


def test_equal_storage_is_ok() -> None:
    stored = StoredTotals(FATES_OF_ALL, (MeterStored("tokens", 7, 70, 70),))
    report = reconcile(whole(), {"default": stored})
    assert (report.ok, report.settled) == (True, True)


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("by", [1, -1])
def test_a_stored_fate_that_differs_is_named(fate: str, by: int) -> None:
    stored = StoredTotals({**FATES_OF_ALL, fate: FATES_OF_ALL[fate] + by})
    (sentence,) = reconcile(whole(), {"default": stored}).differences
    number = FATES_OF_ALL[fate]
    assert sentence.startswith(f"default: {number} events are {fate} by ")
    assert sentence.endswith(f", but {number + by} are stored.")


@pytest.mark.parametrize(
    ("fate", "stages"),
    [("counted", "aggregate and backfill"), ("conflict", "dedupe"), ("rejected", "ingest and aggregate")],
)
def test_the_stage_that_decided_is_named(fate: str, stages: str) -> None:
    (sentence,) = reconcile(whole(), {"default": StoredTotals({**FATES_OF_ALL, fate: 0})}).differences
    assert f"{fate} by {stages}, but" in sentence


def test_an_input_partition_of_which_rows_are_missing_is_named() -> None:
    ingest = [counts("ingest", {"read": 40, "accepted": 40}, partition=p) for p in range(2)]
    rest = [counts("dedupe", {"read": 80, "unique": 80}), counts("aggregate", {"read": 80, "counted": 80})]
    both = (PlaceStored("input-of-ingest", 0, 40), PlaceStored("input-of-ingest", 1, 38))
    named = reconcile([*ingest, *rest], {"default": StoredTotals({"counted": 80}, places=both)}).differences
    assert named == ["default: ingest read 40 events from input-of-ingest/1, but 38 are stored."]
    elsewhere = (both[0], PlaceStored("elsewhere", 0, 1))
    named = reconcile(
        [*ingest, *rest], {"default": StoredTotals({"counted": 80}, places=elsewhere)}
    ).differences
    assert named == [
        "default: ingest read 0 events from elsewhere/0, but 1 are stored.",
        "default: ingest read 40 events from input-of-ingest/1, but 0 are stored.",
    ]


def test_members_that_are_missing_are_named() -> None:
    stored = StoredTotals(
        FATES_OF_ALL,
        uniques=(
            UniqueDifference("visitors", "acme", "2026-01-01T00:00:00Z", 5, 5, 4),
            UniqueDifference("visitors", "zeta", "2026-01-01T00:00:00Z", 5, 7, 8),
        ),
    )
    assert reconcile(whole(), {"default": stored}).differences == [
        "default: meter visitors, subject acme, minute 2026-01-01T00:00:00Z: "
        "5 different values, but 4 are stored.",
        "default: meter visitors, subject zeta, minute 2026-01-01T00:00:00Z: "
        "5 to 7 different values, but 8 are stored.",
    ]


def test_a_stored_fate_that_no_stage_decided_is_named() -> None:
    stored = StoredTotals({**FATES_OF_ALL, "voided": 1})
    assert reconcile(whole(), {"default": stored}).differences == [
        "default: 0 events are voided by no stage, but 1 are stored."
    ]


def test_a_namespace_without_rows_is_compared_with_nothing() -> None:
    assert not reconcile(whole(), {}).ok


def test_a_stored_namespace_that_no_stage_read_is_named() -> None:
    report = reconcile([], {"ghost": StoredTotals({"counted": 2})})
    assert report.differences == ["ghost: 0 events are counted by aggregate and backfill, but 2 are stored."]


def test_windows_that_differ_are_named_by_meter_subject_and_minute() -> None:
    stored = StoredTotals(
        FATES_OF_ALL,
        (MeterStored("tokens", 7, 70, 69),),
        (WindowDifference("tokens", 7, "acme", "2026-01-01T00:00:00Z", 2, 1),),
    )
    assert reconcile(whole(), {"default": stored}).differences == [
        "default: meter tokens (7), subject acme, minute 2026-01-01T00:00:00Z: "
        "2 stored events, but the window holds 1.",
        "default: meter tokens (7) counted 70 stored events, but its windows hold 69.",
    ]


METERS = {"/meter/bill/7/counted": 68, "/meter/bill/7/refused/value-null": 2, "/meter/calls/9/counted": 70}
LATER = {"read": 5, "counted>counted": 5, "/meter/bill/12/counted": 4, "/meter/bill/12/refused/no-data": 1}
HELD = (
    MeterStored("bill", 7, 68, 68, 68, {"value-null": 2}),
    MeterStored("bill", 12, 4, 4, 4, {"no-data": 1}),
    MeterStored("calls", 9, 70, 70, 70),
)


def metered() -> list[Counts]:
    """Two meters of one slug, the newer one by a backfill, and another one; in several partitions."""
    aggregate = counts("aggregate", AGGREGATE | METERS)
    return [
        *whole()[:2],
        aggregate,
        counts("backfill", LATER),
        counts("aggregate", {"/meter/bill/7/counted": 0}),
    ]


def test_each_meter_has_its_totals_by_id() -> None:
    report = reconcile(metered(), {"default": StoredTotals(FATES_OF_ALL, HELD)})
    assert report.differences == []
    assert (
        report.namespaces[0].meters
        == meter_totals(metered())["default"]
        == [
            MeterReport("bill", 7, 68, {"value-null": 2}),
            MeterReport("bill", 12, 4, {"no-data": 1}),
            MeterReport("calls", 9, 70, {}),
        ]
    )


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        (replace(HELD[0], totalled=67), "meter bill (7) counted 68 events, but 67 are stored so."),
        (replace(HELD[1], windows=5), "meter bill (12) counted 4 stored events, but its windows hold 5."),
        (replace(HELD[1], refused={}), "meter bill (12) refused 1 events as no-data, but 0 are stored so."),
        (
            replace(HELD[2], refused={"value-null": 1}),
            "meter calls (9) refused 0 events as value-null, but 1 are stored so.",
        ),
    ],
    ids=["counted", "windows", "refused", "not-refused"],
)
def test_a_meter_that_differs_is_named(held: MeterStored, sentence: str) -> None:
    meters = tuple(held if one.meter_id == held.meter_id else one for one in HELD)
    report = reconcile(metered(), {"default": StoredTotals(FATES_OF_ALL, meters)})
    assert report.differences == [f"default: {sentence}"]


def test_a_meter_that_is_not_stored_at_all_is_named() -> None:
    report = reconcile(metered(), {"default": StoredTotals(FATES_OF_ALL, HELD[1:])})
    assert report.differences == [
        "default: meter bill (7) counted 68 events, but 0 are stored so.",
        "default: meter bill (7) refused 2 events as value-null, but 0 are stored so.",
    ]


def test_what_older_versions_counted_has_no_totals_and_is_no_difference() -> None:
    stored = StoredTotals(FATES_OF_ALL, (MeterStored("tokens", 7, 70, 70, totalled=0),))
    assert reconcile(whole(), {"default": stored}).ok


amounts = st.integers(min_value=0, max_value=10**6)


@given(
    late=st.dictionaries(
        st.sampled_from(["counted", "unmetered", "invalid", "rejected:window-closed"]), amounts
    ),
    repeats=st.dictionaries(st.sampled_from(["duplicate", "conflict"]), amounts),
    refused=st.dictionaries(st.sampled_from(["rejected:bad-json", "rejected:no-id"]), amounts),
    waiting=st.tuples(amounts, amounts),
)
def test_any_true_flow_adds_up(
    late: dict[str, int], repeats: dict[str, int], refused: dict[str, int], waiting: tuple[int, int]
) -> None:
    aggregated = sum(late.values())
    unique = aggregated + waiting[1]
    deduped = unique + sum(repeats.values())
    accepted = deduped + waiting[0]
    flow = [
        counts("aggregate", {"read": aggregated, **late}),
        counts("dedupe", {"read": deduped, "unique": unique, **repeats}),
        counts("ingest", {"read": accepted + sum(refused.values()), "accepted": accepted, **refused}),
    ]
    (report,) = reconcile(flow).namespaces
    assert report.differences == []
    assert report.pending == sum(waiting)
    assert report.read == sum(report.fates.values()) + report.pending
    assert Counter(report.reasons).total() == report.fates["rejected"]


def test_a_backfill_moves_fates_and_the_sum_stays() -> None:
    moves = {"unmetered>counted": 2, "unmetered>invalid": 1, "invalid>counted": 1, "counted>counted": 5}
    backfill = {"read": 13, "left": 4, **moves}
    (only,) = reconcile([*whole(), counts("backfill", backfill)]).namespaces
    assert only.differences == []
    assert only.fates == FATES_OF_ALL | {"counted": 73, "unmetered": 3, "invalid": 3}
    (lost,) = reconcile([*whole(), counts("backfill", backfill | {"read": 14})]).namespaces
    assert len(lost.differences) == 1
