"""What the next invoices of a customer have on them now, and what they will have if usage continues as it did.

Owns: which waiting lines are shown, the forecast of a line, its rating. Does not own: the usage until now (core.bills
keeps it on the gathering invoice), which lines an invoice really takes (gathering), ratings (rating).

SUM and COUNT are extrapolated: usage is expected to grow until the end of the period as it did since its start, rounded
half-even to 18 decimals. Other aggregations stay as they are, since they do not grow with time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple

from pipeline.core.invoices.correction import billed_by
from pipeline.core.invoices.gathering import collected_s
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.rated_line import rating_terms, with_rating
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.taxed_lines import with_taxes
from pipeline.core.invoices.totals import InvoiceTotals, summed
from pipeline.core.rating.booking import difference
from pipeline.core.rating.rate import LinePart, Rated, rate
from pipeline.core.rating.tariff import Tariff, tariff_of
from pipeline.core.values import number

_GROWING: Final = frozenset({"SUM", "COUNT"})


class UpcomingLine(NamedTuple):
    """A line now, and at the end of its period. is_extrapolated: its usage is expected to grow."""

    now: InvoiceLine
    forecast: InvoiceLine
    is_extrapolated: bool


class UpcomingInvoice(NamedTuple):
    """What is collected at one instant.

    Attributes:
        gathering_id: of the gathering invoice on which the lines wait.
        collection_at_s: seconds since 1970.
        totals: of the lines now. forecast: of the lines at the ends of their periods.
    """

    gathering_id: str
    currency: str
    collection_at_s: int
    lines: tuple[UpcomingLine, ...]
    totals: InvoiceTotals
    forecast: InvoiceTotals


def upcoming_invoices(
    gathering: StoredInvoice, aggregations: Mapping[str, str], now_ms: int
) -> list[UpcomingInvoice]:
    """The invoices that a gathering invoice will become.

    Args:
        gathering: whose lines that have begun carry the usage until now.
        aggregations: feature key -> aggregation of its meter.
        now_ms: in ms since 1970.

    Returns:
        By time. Lines of periods that have not begun are shown only where the next invoice takes them.

    Raises:
        Rejected: a price cannot be rated.
    """
    terms = gathering.progress.terms
    alignment = gathering.content.workflow.workflow.collection.alignment
    live = live_lines(gathering.content.lines)
    collected = {line.id: collected_s(line, alignment, terms.zone) for line in live}
    next_s = min(collected.values(), default=0)
    by_time: defaultdict[int, list[InvoiceLine]] = defaultdict(list)
    for line in live:
        if collected[line.id] == next_s or line.period.start_s * 1000 <= now_ms:
            by_time[collected[line.id]].append(line)
    return [_upcoming(gathering, at_s, by_time[at_s], aggregations, now_ms) for at_s in sorted(by_time)]


def _upcoming(
    gathering: StoredInvoice,
    at_s: int,
    lines: list[InvoiceLine],
    aggregations: Mapping[str, str],
    now_ms: int,
) -> UpcomingInvoice:
    found = [_line(line, aggregations.get(line.rate_card.feature_key or ""), now_ms) for line in lines]
    now = _taxed(gathering, tuple(one.now for one in found))
    forecast = _taxed(gathering, tuple(one.forecast for one in found))
    shown = (
        UpcomingLine(line, expected, one.is_extrapolated)
        for one, line, expected in zip(found, now, forecast, strict=True)
    )
    return UpcomingInvoice(
        gathering.content.id,
        gathering.content.currency,
        at_s,
        tuple(shown),
        summed(line.totals for line in now),
        summed(line.totals for line in forecast),
    )


def _taxed(gathering: StoredInvoice, lines: tuple[InvoiceLine, ...]) -> tuple[InvoiceLine, ...]:
    workflow = gathering.content.workflow
    if not workflow.workflow.tax.enabled:
        return lines
    return with_taxes(lines, workflow.tax_rates, gathering.content.currency)


def _line(line: InvoiceLine, aggregation: str | None, now_ms: int) -> UpcomingLine:
    terms = None if line.corrects is not None else rating_terms(line)
    if terms is None:
        return UpcomingLine(line, line, is_extrapolated=False)
    tariff = tariff_of(terms)
    usage_atto, pre_atto = _atto(line.metered_quantity), _atto(line.metered_pre_line_period_quantity)
    if line.quantity is None:
        line = with_rating(line, LinePart(usage_atto, pre_atto), rate(tariff, LinePart(usage_atto)))
    expected_atto = _expected(line, usage_atto, now_ms) if aggregation in _GROWING else usage_atto
    if not line.is_metered or expected_atto == usage_atto:
        return UpcomingLine(line, line, is_extrapolated=False)
    forecast = with_rating(
        line, LinePart(expected_atto, pre_atto), _rated(line, tariff, usage_atto, expected_atto, pre_atto)
    )
    return UpcomingLine(line, forecast, is_extrapolated=True)


def _expected(line: InvoiceLine, usage_atto: int, now_ms: int) -> int:
    """The usage at the end of the period of a line, in atto."""
    start_ms, end_ms = line.period.start_s * 1000, line.period.end_s * 1000
    if not start_ms < now_ms < end_ms:
        return usage_atto
    return number.divide(usage_atto * (end_ms - start_ms), now_ms - start_ms)


def _rated(line: InvoiceLine, tariff: Tariff, usage_atto: int, expected_atto: int, pre_atto: int) -> Rated:
    """The rating of a line with another usage, less what earlier parts of its period have billed."""
    before = rate(tariff, LinePart(pre_atto, minimum=False)) if pre_atto else Rated((), 0, 0, 0, 0)
    worth = rate(tariff, LinePart(pre_atto + expected_atto))
    earlier = difference(rate(tariff, LinePart(pre_atto + usage_atto)).details, billed_by(line))
    return Rated(
        tuple(difference(worth.details, earlier)),
        worth.quantity_atto - before.quantity_atto,
        before.quantity_atto,
        worth.free_atto - before.free_atto,
        before.free_atto,
    )


def _atto(quantity: str | None) -> int:
    return 0 if quantity is None else number.exact(quantity)
