"""The rows of numbers, and what requests for numbers do to them.

Owns: the keys and the form of the rows, reading only those that the requests name. Does not own: which number is next
(numbering), the stage (agents.numbering).

A series and an invoice are of one namespace, so namespaces never share a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipeline.core.invoices.numbering import NumberRequest, NumberRow, give
from pipeline.core.values.table import KeyedBytes
from pipeline.errors import Rejected
from pipeline.records import BillingWork, NumberWork

LAST = b"s"  # + series: its last place
NUMBER = b"i"  # + namespace/invoice: its number

_encode = msgspec.msgpack.Encoder().encode
_last = msgspec.msgpack.Decoder(int).decode
_number = msgspec.msgpack.Decoder(NumberRow).decode


def last_key(series: str) -> bytes:
    """The key of the last place of a series."""
    return LAST + series.encode()


def number_key(invoice: str) -> bytes:
    """The key of the number of an invoice, named as namespace/id."""
    return NUMBER + invoice.encode()


def numbers(table: KeyedBytes, requests: Sequence[NumberWork]) -> list[BillingWork]:
    """The answer to each request, in their order. The rows of new numbers are put into the table.

    Args:
        table: of the stage's only partition.
        requests: of a chunk; one that was answered before gets the same number again.

    Raises:
        Broken: an invoice asks in another series than before.
    """
    series = list(dict.fromkeys(one.series for one in requests))
    invoices = list(dict.fromkeys(_name(one) for one in requests))
    stored = table.get_many([*map(last_key, series), *map(number_key, invoices)])
    lasts = {
        name: _last(value)
        for name, value in zip(series, stored[: len(series)], strict=True)
        if value is not None
    }
    rows = {
        name: _number(value)
        for name, value in zip(invoices, stored[len(series) :], strict=True)
        if value is not None
    }
    known, before = set(rows), dict(lasts)
    answers = [_answer(lasts, rows, one) for one in requests]
    for name, last in lasts.items():
        if before.get(name) != last:
            table.put(last_key(name), _encode(last))
    for name, row in rows.items():
        if name not in known:
            table.put(number_key(name), _encode(row))
    return answers


def _name(request: NumberWork) -> str:
    return f"{request.namespace}/{request.invoice}"


def _answer(lasts: dict[str, int], rows: dict[str, NumberRow], asked: NumberWork) -> BillingWork:
    answer = BillingWork("number", namespace=asked.namespace, customer=asked.customer, invoice=asked.invoice)
    request = NumberRequest(series=asked.series, invoice_id=_name(asked), stem=asked.stem, start=asked.start)
    try:
        answer.number = give(lasts, rows, request).number
    except Rejected as refusal:
        answer.error, answer.detail = refusal.reason, refusal.detail
    return answer
