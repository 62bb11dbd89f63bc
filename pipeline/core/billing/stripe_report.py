"""What Stripe reports of meter events that it accepted and could not count.

Owns: reading the content of such a report, and which cause of a difference it is. Does not own: receiving it
(api.billing.stripe_webhook), the comparison (stripe_drift). A report names a cause and at most some samples; how much
is missing, the summaries show. Source: Stripe's API reference, `v1.billing.meter.error_report_triggered` and
`v1.billing.meter.no_meter_found`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from pipeline.core.values import timestamp
from pipeline.errors import Rejected
from pipeline.records import StripeReport

REPORTS = ("v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found")
_UNKNOWN_CUSTOMER = ("meter_event_customer_not_found", "meter_event_no_customer_defined")
_TOO_OLD = ("timestamp_too_far_in_past",)
MOST_CHARS = 500  # of a sentence that is kept


class _Request(msgspec.Struct):
    identifier: str = ""


class _Sample(msgspec.Struct):
    error_message: str = ""
    request: _Request | None = None


class _Kind(msgspec.Struct):
    code: str
    error_count: int = 1
    sample_errors: list[_Sample] = []


class _Reason(msgspec.Struct):
    error_count: int = 0
    error_types: list[_Kind] = []


class _Content(msgspec.Struct):
    developer_message_summary: str = ""
    reason: _Reason | None = None
    validation_start: int | str | None = None
    validation_end: int | str | None = None


def read(
    namespace: str, app: str, event: Mapping[str, object], content: Mapping[str, object] | None
) -> StripeReport:
    """The report in an event.

    Args:
        namespace, app: for which it came; app is an id.
        event: the thin event, with id, type, created and, where there is one, related_object.
        content: its `data`; None: Stripe does not have it.

    Raises:
        Rejected: `bad-report`: it does not have the form that Stripe documents.
    """
    try:
        data = msgspec.convert(content or {}, _Content)
        id, type = str(event["id"]), str(event["type"])
        created_ms = _ms(event["created"])
        related = event.get("related_object")
        meter = str(related["id"]) if isinstance(related, Mapping) else ""
        from_ms = created_ms if data.validation_start is None else _ms(data.validation_start)
        to_ms = created_ms if data.validation_end is None else _ms(data.validation_end)
    except (KeyError, msgspec.ValidationError) as error:
        raise Rejected("bad-report", f"The event has another form than Stripe documents: {error}.") from error
    kinds = data.reason.error_types if data.reason else []
    samples = [(kind.code, sample) for kind in kinds for sample in kind.sample_errors if sample.request]
    summary = data.developer_message_summary or "Stripe reports events that it could not count."
    codes = {kind.code: kind.error_count for kind in kinds}
    named = ", ".join(f"{code} ({count})" for code, count in sorted(codes.items()))
    return StripeReport(
        namespace, app, id, type, meter, created_ms, from_ms, to_ms, codes,
        {
            one.request.identifier: f"{code}: {one.error_message}"[:MOST_CHARS]
            for code, one in samples
            if one.request and one.request.identifier
        },
        f"{summary} {named}".strip()[:MOST_CHARS],
    )  # fmt: skip


def cause_of(report: StripeReport) -> Literal["unknown_customer", "too_old", "refused"]:
    """The cause of what is missing, by the most frequent code.

    >>> cause_of(StripeReport("n", "a", "e", REPORTS[0], "m", 0, 0, 0, {"archived_meter": 1}, {}, ""))
    'refused'
    """
    return cause_of_code(max(report.codes, key=lambda code: (report.codes[code], code), default=""))


def cause_of_code(code: str) -> Literal["unknown_customer", "too_old", "refused"]:
    """The cause of units that Stripe did not count for a reason that has a code.

    >>> cause_of_code("meter_event_customer_not_found"), cause_of_code("archived_meter")
    ('unknown_customer', 'refused')
    """
    if code in _UNKNOWN_CUSTOMER:
        return "unknown_customer"
    return "too_old" if code in _TOO_OLD else "refused"


def _ms(value: object) -> int:
    """An instant of Stripe, in seconds or in RFC 3339, as ms since 1970."""
    if isinstance(value, int):
        return value * 1_000
    try:
        return timestamp.ms_of(str(value))
    except Rejected as error:
        raise Rejected(
            "bad-report", f"The event has an instant that cannot be read: {value!r:.40}."
        ) from error
