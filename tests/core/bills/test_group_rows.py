"""Groups of lines as rows: what is read is what was written, and lines share what they have in common."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from pipeline.core.bills.group_rows import GROUP, PLACE, WORDING, GroupRows
from pipeline.core.bills.line_group import BookedLine, GroupPart, LineGroup
from pipeline.core.catalog.price import FlatPrice
from pipeline.core.invoices.line import LinePeriod
from pipeline.core.rating.detail import RatedDetail
from pipeline.core.values.number import SCALE
from pipeline.errors import Broken
from tests.core.bills.bill_world import DAY_S, HOUR_S, BillWorld, Definitions, at
from tests.fixtures.fake_transaction import DictTable

BEGIN = at("2026-01-10")
INVOICE = "01KEJK7S00WJVTFE9Q4J1YBJ63"
TIERS = RatedDetail("graduated-tiered-2-price-usage", 10**15, -7 * SCALE // 2, -3, 0, 1, 2, 2, True)
COMMITMENT = RatedDetail("min-spend", 10**37, SCALE, 0, 10**19)


def billed_world() -> BillWorld:
    """Two customers after two months, with late usage, and a line of a client that is cut."""
    world = BillWorld(Definitions(customers=2))
    world.now_s = BEGIN
    for customer in world.definitions.customers:
        world.subscribe(customer)
    world.until(BEGIN + 5 * DAY_S)
    price = {"type": "unit", "amount": "0.5"}
    period = {"from": "2026-01-10T00:00:00Z", "to": "2026-02-20T00:00:00Z"}
    line = {"name": "Calls", "period": period, "invoiceAt": period["to"],
            "rateCard": {"price": price, "featureKey": "tokens"}}  # fmt: skip
    world.do("invoice.pending-lines", {"currency": "EUR", "lines": [line]})
    world.use(BEGIN + DAY_S, "100")
    world.do("invoice.now", {"customerId": world.customer})
    world.until(BEGIN + 32 * DAY_S)
    world.use(BEGIN + 2 * DAY_S, "7.25")
    world.until(BEGIN + 64 * DAY_S)
    return world


def groups(table: DictTable) -> Iterator[tuple[bytes, LineGroup]]:
    rows = GroupRows(table)
    for key in [key for key in table.rows if key.startswith(GROUP)]:
        group = rows.get(key)
        assert group is not None
        yield key, group


def again(key: bytes, group: LineGroup, table: DictTable) -> LineGroup | None:
    """A group that is written and read."""
    written = GroupRows(table)
    written.put(key, group)
    written.flush()
    return GroupRows(table).get(key)


def variants(group: LineGroup) -> Iterator[LineGroup]:
    """Groups that differ from one in anything that a group has."""
    replace, line, part = msgspec.structs.replace, group.line, group.parts[0]
    yield group
    yield replace(group, is_wanted=False)
    booked = (
        BookedLine(INVOICE, group.id, (TIERS, COMMITMENT)),
        BookedLine(INVOICE, INVOICE, end_s=part.end_s),
        BookedLine(INVOICE, group.id, (TIERS,), part.end_s, is_given_up=True),
        BookedLine(INVOICE, group.id, (TIERS,), part.end_s, is_left=True),
    )
    yield replace(group, parts=(GroupPart(part.start_s, part.end_s, booked, is_dropped=True),))
    cut_s = part.start_s + HOUR_S
    yield replace(group, parts=(GroupPart(part.start_s, cut_s), GroupPart(cut_s, cut_s + 1)))
    for changed in (
        {"managed_by": "manual", "metadata": {"order": "7"}},
        {"description": "Für April", "name": "Überschrift"},
        {"period": LinePeriod("2026-01-10T00:00:00Z", "2026-01-12T00:00:00+01:00")},
        {"invoice_at": "2026-01-10T00:00:00.500Z"},
        {"created_at": "2026-01-10T00:00:00.007Z", "updated_at": "2026-03-10T00:00:00.000Z"},
        {"reference": None},
        {"reference": "alone"},
        {"subscription": None},
        {"deleted_at": "2026-03-10T00:00:00.000Z"},
        {"quantity": "7"},
        {"rate_card": replace(line.rate_card, price=FlatPrice("0.125", "in_arrears"))},
        {"rate_card": replace(line.rate_card, price=None)},
    ):
        yield replace(group, line=replace(line, **changed))


def test_what_is_read_is_what_was_written() -> None:
    table = billed_world().table
    found = list(groups(table))
    assert any(len(group.parts) > 1 for _, group in found)
    assert any(len(part.booked) > 1 for _, group in found for part in group.parts)
    for key, group in found:
        for wanted in variants(group):
            assert again(key, wanted, table) == wanted
        assert again(key, group, table) == group


def test_a_line_that_changes_is_written_over_the_one_that_was_read() -> None:
    table = billed_world().table
    key, group = next((key, group) for key, group in groups(table) if group.line.subscription is not None)
    rows = GroupRows(table)
    read = rows.get(key)
    assert read == group
    part = msgspec.structs.replace(group.parts[0], end_s=group.parts[0].end_s - DAY_S)
    for changed in (
        msgspec.structs.replace(read, parts=(part,)),
        msgspec.structs.replace(read, line=msgspec.structs.replace(read.line, name="Other")),
    ):
        rows.put(key, changed)
        rows.flush()
        assert GroupRows(table).get(key) == changed


def test_lines_share_their_item_and_customers_share_their_plan() -> None:
    world = billed_world()
    lines = [key for key, group in groups(world.table) if group.line.managed_by == "subscription"]
    prefixes = [key[:1] for key in world.table.rows]
    assert len(lines) >= 12
    assert (prefixes.count(PLACE), prefixes.count(WORDING)) == (
        4,
        2,
    )  # a fee and usage, for each of two customers
    assert max(len(world.table.rows[key]) for key in lines) < 400


def test_a_group_without_what_its_line_shares_is_broken() -> None:
    table = billed_world().table
    keys = [key for key, group in groups(table) if group.line.managed_by == "subscription"]
    for key in [key for key in table.rows if key.startswith(WORDING)]:
        table.delete(key)
    with pytest.raises(Broken):
        GroupRows(table).get(keys[0])


def test_another_row_under_the_same_name_is_broken() -> None:
    table = billed_world().table
    key, group = next((key, group) for key, group in groups(table) if group.line.managed_by == "subscription")
    first, second = [key for key in table.rows if key.startswith(WORDING)]
    table.rows[first], table.rows[second] = table.rows[second], table.rows[first]
    rows = GroupRows(table)
    rows.put(key, group)
    with pytest.raises(Broken):
        rows.flush()


def test_a_group_that_is_removed_is_gone() -> None:
    table = billed_world().table
    key, _ = next(groups(table))
    rows = GroupRows(table)
    rows.put(key, None)
    rows.flush()
    assert key not in table.rows and GroupRows(table).get(key) is None


def test_every_member_of_a_group_is_kept() -> None:
    """A member that is new has to be packed: see stored_group."""
    fields = {kind: set(kind.__struct_fields__) for kind in (LineGroup, GroupPart, BookedLine, RatedDetail)}
    assert fields == {
        LineGroup: {"id", "line", "feature", "parts", "is_wanted"},
        GroupPart: {"start_s", "end_s", "booked", "open", "is_dropped"},
        BookedLine: {"invoice", "line", "details", "end_s", "is_given_up", "is_left"},
        RatedDetail: {
            "reference", "per_unit_atto", "quantity_atto", "amount", "charges", "percentage_discount",
            "maximum_discount", "tier", "reversal",
        },
    }  # fmt: skip
