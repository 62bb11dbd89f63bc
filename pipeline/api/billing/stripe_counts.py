"""The three counts of a customer and mapping, read where they are: events, what was sent, Stripe's sums.

Owns: reading them, in an order in which the later ones have had time to follow. Does not own: putting them together
(core.billing.stripe_comparison), SQL (stores.clickhouse), calls (stores.stripe_api), their rate (stripe_reads).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from itertools import product
from typing import NamedTuple

from msgspec import structs

from pipeline.api.billing.stripe_reads import StripeClients
from pipeline.api.http.services import Services
from pipeline.core.billing.app import StripeApp
from pipeline.core.billing.stripe_comparison import (
    WINDOW_S,
    ComparedCounts,
    ComparedSpan,
    DriftRow,
    compare,
    counted_usage,
    remainders_are_doubtful,
    span_of,
)
from pipeline.core.billing.stripe_drift import CountedUsage, SentWindow
from pipeline.core.billing.stripe_meter import StripeMeter
from pipeline.core.customers.attribution import Holders
from pipeline.core.definitions.changes import Changes
from pipeline.core.definitions.index import key_of
from pipeline.core.values import number, timestamp
from pipeline.errors import Unavailable
from pipeline.records import StripeReport
from pipeline.stores.clickhouse import stripe_usage
from pipeline.stores.clickhouse.windows import stored_windows
from pipeline.stores.stripe_api import SUMMARIES_AT_ONCE, GroupingWindow

_GROUPING: dict[int, GroupingWindow] = {3_600: "hour", 86_400: "day"}


class StripeMapped(NamedTuple):
    """A mapping with its app. others: mappings of the same meter of Stripe."""

    app: StripeApp
    mapping: StripeMeter
    others: list[StripeMeter]


class DriftAsked(NamedTuple):
    """What one request compares."""

    services: Services
    clients: StripeClients
    namespace: str
    from_s: int
    to_s: int
    reports: Sequence[StripeReport]
    now_ms: int


class StripeUnavailable(Unavailable):
    """Stripe, and no service of ours, does not answer."""


def compared_span(asked: DriftAsked, mapping: StripeMeter) -> ComparedSpan:
    """The windows that the mapping sends: from its first to its end."""
    from_s = max(asked.from_s, -(-timestamp.ms_of(mapping.from_at) // 1_000))
    to_s = asked.to_s
    if mapping.deleted_at is not None:
        to_s = min(to_s, timestamp.ms_of(mapping.deleted_at) // 1_000)
    return span_of(from_s, to_s, WINDOW_S[mapping.window])


async def drift_rows(
    asked: DriftAsked, mapped: StripeMapped, customer: str, stripe_ids: Sequence[str], span: ComparedSpan
) -> list[DriftRow]:
    """The windows that differ. Stripe is read last, so that it has had the most time to count.

    stripe_ids: that the customer has or had at Stripe; none: it has no id, and Stripe is not read.
    """
    run, mapping, app = asked.services.bulkheads.clickhouse.run, mapped.mapping, mapped.app
    counted = await run(partial(_counted, asked, mapping, customer, span))
    sent, elsewhere = await run(partial(_sent, asked, mapped, customer, span))
    held = (
        f"The key of the app was refused. {app.status_reason or ''}".strip() if app.status != "ready" else ""
    )
    stripe = await _at_stripe(asked, mapped, stripe_ids, span) if stripe_ids else None
    ended_ms = 0 if mapping.deleted_at is None else timestamp.ms_of(mapping.deleted_at)
    counts = ComparedCounts(
        number.exact(mapping.multiplier), sent, counted, stripe, elsewhere, (), held, ended_ms
    )
    if remainders_are_doubtful(counts):
        read = partial(
            stripe_usage.whole_usage, asked.services.clickhouse, asked.namespace, customer, mapping.id
        )
        counts = structs.replace(counts, whole=await run(read))
    reports = [
        one for one in asked.reports if one.app == app.id and one.meter in ("", mapping.stripe_meter_id)
    ]
    return compare(span, counts, reports, asked.now_ms)


def _counted(
    asked: DriftAsked, mapping: StripeMeter, customer: str, span: ComparedSpan
) -> dict[int, CountedUsage] | None:
    """Usage by the stored minute windows; None: the meter of the mapping is gone."""
    definitions = asked.services.definitions
    found = definitions.meter(asked.namespace, mapping.meter_slug)
    if found is None or mapping.meter_id not in (found[1].id, str(found[1].meter_id)):
        return None
    attributions = definitions.attributions(asked.namespace, customer)
    subjects = sorted(one.name for one in attributions)
    holders = Holders()
    holders.update(Changes({key_of(one): one for one in attributions}))
    if not subjects:
        return {}
    pages = stored_windows(
        asked.services.clickhouse_pages, asked.namespace, found[1].meter_id, subjects, span.from_s, span.to_s
    )
    return counted_usage((one for page in pages for one in page), holders, customer, span.window_s)


def _sent(
    asked: DriftAsked, mapped: StripeMapped, customer: str, span: ComparedSpan
) -> tuple[dict[int, list[SentWindow]], dict[int, int]]:
    """Of the mapping, its windows; of other mappings of the same meter of Stripe, confirmed units."""
    ids = [mapped.mapping.id, *(one.id for one in mapped.others)]
    sent: defaultdict[int, list[SentWindow]] = defaultdict(list)
    elsewhere: defaultdict[int, int] = defaultdict(int)
    for one in stripe_usage.sent_windows(
        asked.services.clickhouse, asked.namespace, customer, ids, span.from_s, span.to_s
    ):
        if one.mapping == mapped.mapping.id:
            sent[one.start_s].append(one.sent)
        else:
            elsewhere[one.start_s // span.window_s * span.window_s] += one.sent.confirmed
    return sent, elsewhere


async def _at_stripe(
    asked: DriftAsked, mapped: StripeMapped, stripe_ids: Sequence[str], span: ComparedSpan
) -> dict[int, Decimal]:
    """Stripe's sums by start of the window, of all ids of a customer together."""
    api = await asked.clients.of(mapped.app)
    found, step_s = (
        defaultdict[int, Decimal](Decimal),
        SUMMARIES_AT_ONCE * span.window_s,
    )  # one page of Stripe each
    for stripe_id, from_s in product(stripe_ids, range(span.from_s, span.to_s, step_s)):
        await asked.services.stripe_pace.turn(mapped.app.stripe_account_id)
        until_s = min(from_s + step_s, span.to_s)
        try:
            rows = await api.summaries(
                mapped.mapping.stripe_meter_id, stripe_id, from_s, until_s, _GROUPING[span.window_s]
            )
        except Unavailable as error:
            raise StripeUnavailable(str(error)) from error
        for row in rows:
            found[row.start_s] += row.value
    return found
