"""The comparison of all features of a customer, as a request asks for it."""

from __future__ import annotations

from pipeline.core.bills.customer_money import (
    CustomerDocuments,
    CustomerMoney,
    FeaturesById,
    reconcile_customer,
)
from pipeline.core.bills.money_reconcile import ReconciledFeature, ReconciledPeriod
from pipeline.core.bills.recounted_usage import RecountedUsage
from pipeline.core.bills.usage import BilledFeature, billed_feature
from pipeline.core.catalog.feature import Feature
from tests.core.bills.bill_world import BillWorld, at
from tests.core.bills.test_money_reconcile import PERIOD, row, stored_usage, world_of


def compared(
    world: BillWorld, documents: CustomerDocuments | None = None, period: ReconciledPeriod = PERIOD
) -> tuple[CustomerMoney, set[tuple[int, int, int]]]:
    """The comparison, and the meters and spans of which usage was asked for."""
    asked = set()

    def usage_of(meter_id: int, from_s: int, to_s: int) -> RecountedUsage:
        asked.add((meter_id, from_s, to_s))
        return stored_usage(world)

    features = [
        (
            one,
            ReconciledFeature(
                one.key, one.meter_slug, billed_feature(one, world.definitions.meter_id, "SUM")
            ),
        )
        for one in world.definitions.billing.index.all(Feature, "default")
        if one.meter_slug is not None
    ]
    found = documents or CustomerDocuments(
        world.customer, world.invoices(), [world.subscription(id) for id in world.published.subscriptions]
    )
    return reconcile_customer(found, FeaturesById(features), period, usage_of, world.now_s * 1000), asked


def test_a_row_for_each_feature_with_usage_or_bills() -> None:
    world = world_of()
    world.use(at("2026-01-10"), "100")
    world.until(at("2026-02-03"))
    money, asked = compared(world)
    assert (money.rows, money.missing, money.differences) == ([row(world)], [], [])
    assert asked == {(world.definitions.meter_id, PERIOD.from_s, PERIOD.to_s)}


def test_usage_is_counted_over_all_of_a_line_that_shares_a_minute_with_the_period() -> None:
    world = world_of()
    world.use(at("2026-01-10"), "100")
    world.until(at("2026-02-03"))
    day = ReconciledPeriod(at("2026-01-20"), at("2026-01-21"))
    money, asked = compared(world, period=day)
    assert asked == {(world.definitions.meter_id, at("2026-01-01"), at("2026-02-01"))}
    [found] = money.rows
    assert (found.usage, [one.rated for one in found.amounts], found.differences) == ("0", ["1"], ())


def test_usage_without_a_subscription_is_free_and_a_lost_invoice_is_a_difference() -> None:
    world = world_of()
    world.use(at("2026-01-10"), "100")
    world.until(at("2026-02-03"))
    [subscription] = world.published.subscriptions
    nothing, _ = compared(world, CustomerDocuments(world.customer, [], []))
    assert [(one.usage, one.free) for one in nothing.rows] == [("100", "100")]
    assert nothing.differences == []
    lost, _ = compared(world, CustomerDocuments(world.customer, [], [world.subscription(subscription)]))
    assert len(lost.differences) == 2
    assert "is on no invoice" in lost.differences[0]


def test_a_feature_is_found_by_its_id_else_by_its_key_the_one_in_force_first() -> None:
    def feature(id: str, archived: str | None = None) -> tuple[Feature, ReconciledFeature]:
        body = Feature(
            id=id, key="tokens", name="T", meter_slug="m", created_at="", updated_at="", archived_at=archived
        )
        return body, ReconciledFeature("tokens", id, BilledFeature(1, "SUM"))

    features = FeaturesById(
        [feature("b"), feature("c", "2026-01-01T00:00:00Z"), feature("a", "2026-01-01T00:00:00Z")]
    )
    assert (features.find("a", "tokens"), features.find(None, "tokens"), features.find(None, "x")) == (
        "a",
        "b",
        None,
    )
    assert FeaturesById([feature("a", "x"), feature("c", "x")]).find(None, "tokens") == "c"
