"""Whose each row of webhook is."""

from __future__ import annotations

from pipeline.core.notifications import delivery_table
from pipeline.core.notifications.delivery_owners import RULES, delivery_owners
from pipeline.core.notifications.delivery_table import apply, endpoint_hash
from pipeline.core.notifications.standard_webhooks import SCHEDULE_MS
from pipeline.core.values.state_owners import FIRST, Unowned
from pipeline.records import Alert, Attempt, WebhookWork
from tests.fixtures.fake_transaction import DictTable


def test_every_kind_of_row_has_a_rule() -> None:
    found = {
        value for name, value in vars(delivery_table).items() if name.isupper() and isinstance(value, bytes)
    }
    assert {one[FIRST] for one in found} == set(RULES) and {len(one) for one in found} == {2}


def test_deliveries_payloads_marks_and_failures_are_those_of_the_endpoint() -> None:
    table = DictTable()
    for n, endpoint in enumerate(("e1", "e2", "e3")):
        alert = Alert(f"a{n}", "acme", "t", "rule", 1, [endpoint], "{}")
        work = WebhookWork("deliver", "acme", endpoint, "", 1, alert)
        (made,) = apply(work, 2 * n, 1, table, SCHEDULE_MS).deliveries
        failed = Attempt(1, 1, 1, "failed", 500)
        apply(
            WebhookWork("attempt", "acme", endpoint, made.id, 1, attempt=failed),
            2 * n + 1, 1, table, SCHEDULE_MS,
        )  # fmt: skip
    known = delivery_owners()
    for row in table.rows.items():
        known.learn(*row)
    for endpoint in ("e1", "e2", "e3"):
        owner = endpoint_hash("acme", endpoint)
        kinds = sorted(key[:2] for key in table.rows if known.of(key) == owner)
        assert kinds == [b"a/", b"d/", b"e/", b"m/"]
    assert Unowned.UNKNOWN not in {known.of(key) for key in table.rows}
