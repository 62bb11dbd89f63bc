"""Taking back an issued invoice, as a whole or a share of it.

Owns: what a client may send, which lines are billed again, what a credit note takes back of each line. Does not own:
whether the state allows it (actions), the credit note itself and its taxes, credits that come back.

100 % of every line voids the invoice, whose number stays used. Less makes a credit note. A line that is `pending` is
billed again, so only all of it can be; one that is `discard` is not. The shares of all credit notes of a line are
summed before they are rounded, so that they never take back more than was billed, nor less for 100 %.
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` VoidInvoiceActionInput, which is not implemented there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from pipeline.core.definitions.body import BodyReader
from pipeline.core.invoices.correction import billed_by
from pipeline.core.invoices.line import InvoiceLine, line_id, live_lines
from pipeline.core.invoices.rated_line import with_billed, without_rating
from pipeline.core.values import money, number, timestamp
from pipeline.core.values.currency import digits_of
from pipeline.errors import Rejected

KIND: Final = "void-invoice"
WHOLE_ATTO: Final = 100 * number.SCALE
MOST_OVERRIDES: Final = 1000
VoidedLine = Literal["discard", "pending"]


class VoidAction(NamedTuple):
    """What happens to a line.

    Attributes:
        share_atto: in percent, in atto.
        then: whether it is billed again.
        next_invoice_at: RFC 3339; None: at once.
    """

    share_atto: int
    then: VoidedLine
    next_invoice_at: str | None = None


class VoidRequest(NamedTuple):
    """reason: for the customer. overrides: line id -> what happens to it; `action`: to all others."""

    reason: str
    action: VoidAction
    overrides: Mapping[str, VoidAction]


class TakenBack(NamedTuple):
    """What a credit note takes back of a line. amount: without taxes, in minor units."""

    line_id: str
    share_atto: int
    amount: int


class VoidPlan(NamedTuple):
    """What a request does.

    Attributes:
        is_whole: the invoice is voided, and no credit note is made.
        credit: what a credit note takes back.
        pending: lines for the gathering invoice.
    """

    is_whole: bool
    credit: tuple[TakenBack, ...]
    pending: tuple[InvoiceLine, ...]


def read_void(body: Mapping[str, object]) -> VoidRequest:
    """The request that a client sent.

    Raises:
        Rejected: `bad-void-invoice`, with one sentence.
    """
    sent = BodyReader(KIND, body, ("reason", "action", "overrides"))
    overrides: dict[str, VoidAction] = {}
    for place, one in enumerate(sent.objects("overrides", 0, MOST_OVERRIDES) or []):
        part = BodyReader(KIND, one, ("lineId", "action"), inside=f"overrides[{place}]")
        id = part.required("lineId", 64)
        if id in overrides:
            part.refuse(f"{part.kind} lineId is there twice")
        overrides[id] = _action(part, f"overrides[{place}] action")
    return VoidRequest(sent.required("reason", 1024), _action(sent, "action"), overrides)


def plan_void(
    lines: Sequence[InvoiceLine], request: VoidRequest, credited_atto: Mapping[str, int], now_ms: int
) -> VoidPlan:
    """What a request does to an invoice.

    Args:
        lines: of the invoice.
        request: of the client.
        credited_atto: line id -> percents that credit notes have taken back, in atto.
        now_ms: the time of the record.

    Raises:
        Rejected: `invoice_line_not_found`; `invoice_void_exceeds_line`: more than 100 % of a line in all;
            `invoice_void_without_effect`: 0 % of every line.
    """
    live = live_lines(tuple(lines))
    unknown = [id for id in request.overrides if all(line.id != id for line in live)]
    if unknown:
        raise Rejected("invoice_line_not_found", f"The invoice has no line {', '.join(unknown)[:512]}.")
    actions = {line.id: request.overrides.get(line.id, request.action) for line in live}
    if not any(action.share_atto for action in actions.values()):
        raise Rejected("invoice_void_without_effect", "0 % of every line would be taken back.")
    for id, action in actions.items():
        if action.share_atto + credited_atto.get(id, 0) > WHOLE_ATTO:
            raise Rejected(
                "invoice_void_exceeds_line",
                f"Of the line {id} {number.text(credited_atto[id])} % were taken back before.",
            )
    is_whole = not credited_atto and all(action.share_atto == WHOLE_ATTO for action in actions.values())
    credit = [] if is_whole else [_taken(one, actions[one.id], credited_atto.get(one.id, 0)) for one in live]
    back = [
        _again(one, actions[one.id], now_ms)
        for one in live
        if actions[one.id].then == "pending" and actions[one.id].share_atto
    ]
    return VoidPlan(is_whole, tuple(one for one in credit if one.share_atto), tuple(back))


def again_id(of_line: str, voided_ms: int) -> str:
    """The id of a line that is billed again.

    Args:
        of_line: id of the line that was voided.
        voided_ms: the time of the void, in ms since 1970.
    """
    return line_id(voided_ms, f"{of_line}/again")


def _action(sent: BodyReader, place: str) -> VoidAction:
    nested = sent.nested("action")
    if nested is None:
        sent.refuse(f"{sent.kind} action is required")
    parts = BodyReader(KIND, nested, ("percentage", "action"), inside=place)
    share_atto = parts.at_least_zero("percentage")
    if share_atto is None or share_atto > WHOLE_ATTO:
        parts.refuse(f"{parts.kind} percentage must be a number from 0 to 100")
    of_line = parts.nested("action")
    if of_line is None:
        parts.refuse(f"{parts.kind} action is required")
    inner = BodyReader(KIND, of_line, ("type", "nextInvoiceAt"), inside=f"{place} action")
    then: VoidedLine | None = inner.one_of("type", ("discard", "pending"))
    if then is None:
        inner.refuse(f"{inner.kind} type is required")
    at_ms = inner.instant_ms("nextInvoiceAt")
    if at_ms is not None and then == "discard":
        inner.refuse(f"{inner.kind} nextInvoiceAt belongs to the type pending")
    if then == "pending" and share_atto not in (0, WHOLE_ATTO):
        parts.refuse(
            f"{parts.kind} percentage must be 100 for the type pending, since the whole line is billed again"
        )
    return VoidAction(share_atto, then, None if at_ms is None else timestamp.text_of(at_ms // 1000 * 1000))


def _taken(line: InvoiceLine, action: VoidAction, before_atto: int) -> TakenBack:
    """The share of a line, as the difference of two sums that are each rounded once."""
    digits = digits_of(line.currency)
    net_atto = number.exact(line.totals.total) - number.exact(line.totals.taxes_exclusive_total)

    def up_to(share_atto: int) -> int:
        return money.rounded(net_atto * share_atto, WHOLE_ATTO * money.unit(digits))

    amount = up_to(before_atto + action.share_atto) - up_to(before_atto)
    return TakenBack(line.id, action.share_atto, amount)


def _again(line: InvoiceLine, action: VoidAction, now_ms: int) -> InvoiceLine:
    """The line as a pending one with an id of its own. It is rated again; what a correction bills stays."""
    now = timestamp.text_of(now_ms)
    again = msgspec.structs.replace(
        without_rating(line),
        id=again_id(line.id, now_ms),
        invoice_at=action.next_invoice_at or timestamp.text_of(now_ms // 1000 * 1000),
        external_ids=None,
        created_at=now,
        updated_at=now,
    )
    if line.corrects is None:
        return again
    return with_billed(msgspec.structs.replace(again, quantity=line.quantity), billed_by(line))
