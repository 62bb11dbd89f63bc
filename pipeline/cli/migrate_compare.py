"""Usage and balances of both sides of a migration, compared until they agree or stay as they are.

Owns: asking both sides. Does not own: which values agree (core.migration.comparison).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.cli import migrate_definitions
from pipeline.cli.migrate_report import MigrationReport
from pipeline.cli.migrate_sides import OpenMeter, TargetApi
from pipeline.cli.paths import segment
from pipeline.core.migration import comparison
from pipeline.core.migration.comparison import Compared
from pipeline.core.migration.entitlement_carry import has_ended
from pipeline.core.values import zone as zones
from pipeline.errors import Rejected, Unavailable

LOOK_S = 1.0
AskSide = Callable[..., Any]


def usage(
    source: OpenMeter, target: TargetApi, report: MigrationReport, span: tuple[int, int], wait_s: float
) -> None:
    """Compare each meter that both sides have, in [from, to): the total and each day in UTC.

    Args:
        source: the OpenMeter.
        target: this Tallymark.
        report: gets the result.
        span: seconds since 1970.
        wait_s: how long differences may stay as they are, while events are on their way through the stages.
    """
    here = {str(row["slug"]) for row in target.pages("/meters")}
    slugs = [str(row["slug"]) for row in source.pages("/meters") if row.get("deletedAt") is None]
    for slug in slugs:
        if slug not in here:
            report.add("meter", slug, "note", "It is not compared, since it is not here.")
    names = [slug for slug in slugs if slug in here]
    theirs = {slug: _values(source.get, slug, span) for slug in names}

    def look() -> list[Compared]:
        pairs = ((slug, _values(target.get, slug, span)) for slug in names)
        return [one for slug, ours in pairs for one in comparison.usage(slug, theirs[slug], ours)]

    report.compared += _settled(look, wait_s)


def balances(
    source: OpenMeter, target: TargetApi, report: MigrationReport, now_s: int, wait_s: float
) -> None:
    """Compare the value of each metered entitlement that both sides have."""
    customers = migrate_definitions.customer_ids(source, target)
    here = {
        (str(row["customerId"]), str(row["featureKey"]))
        for row in target.pages("/entitlements", version=2)
        if row["type"] == "metered" and not has_ended(row, now_s)
    }
    pairs: list[tuple[str, str, str]] = []
    for row in source.pages("/entitlements", version=2):
        if row["type"] != "metered" or has_ended(row, now_s):
            continue
        customer, feature = customers.get(str(row["customerId"])), str(row["featureKey"])
        if customer is not None and (customer, feature) in here:
            name = f"{row.get('customerKey') or row['customerId']}/{feature}"
            pairs.append((name, _path(str(row["customerId"]), feature), _path(customer, feature)))

    def look() -> list[Compared]:
        return [
            one for name, there, ours in pairs
            for one in comparison.balance(name, source.get(there, version=2), _live(target, ours))
        ]  # fmt: skip

    report.compared += _settled(look, wait_s)


def _path(customer: str, feature: str) -> str:
    return f"/customers/{segment(customer)}/entitlements/{segment(feature)}/value"


def _live(target: TargetApi, path: str) -> Mapping[str, Any]:
    """The value here; nothing where balances are not complete at present, after several tries."""
    try:
        found: Mapping[str, Any] = target.get(path, version=2)
    except (Unavailable, Rejected):
        return {}
    return found


def _values(get: AskSide, slug: str, span: tuple[int, int]) -> dict[str, comparison.ComparedValue]:
    path, params = f"/meters/{segment(slug)}/query", _range(span)
    days = comparison.windows_of(get(path, [*params, ("windowSize", "DAY")])["data"])
    return days | comparison.total_of(get(path, params)["data"])


def _range(span: tuple[int, int]) -> list[tuple[str, str]]:
    return [("from", zones.text_of(span[0])), ("to", zones.text_of(span[1]))]


def _settled(look: Callable[[], list[Compared]], wait_s: float) -> list[Compared]:
    """What both sides have once it agrees, or has not changed for `wait_s`."""
    found, since_s = look(), time.monotonic()
    while any(one.verdict == "different" for one in found) and time.monotonic() - since_s < wait_s:
        time.sleep(LOOK_S)
        now = look()
        if now != found:
            found, since_s = now, time.monotonic()
    return found
