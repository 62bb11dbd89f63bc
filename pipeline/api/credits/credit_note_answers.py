"""Answers about credit notes, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are made (credit_note_json).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.credits.answers import CreditListMeta, CreditMoney
from pipeline.api.http.members import Instant, Ulid


class CreditNoteCustomerAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: Ulid
    name: str
    key: str | UnsetType = UNSET


class CreditedInvoiceAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The invoice that a credit note corrects."""

    id: Ulid
    number: str | UnsetType = UNSET
    issued_at: Instant | UnsetType = UNSET


class CorrectedLineAnswer(msgspec.Struct, forbid_unknown_fields=True):
    invoice_id: Ulid
    line_id: Ulid


CreditNotePeriodAnswer = msgspec.defstruct(
    "CreditNotePeriodAnswer", [("from", Instant), ("to", Instant)], forbid_unknown_fields=True
)


class CreditNoteLineAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: Ulid
    name: str
    period: CreditNotePeriodAnswer  # type: ignore[valid-type]
    amount: Annotated[
        CreditMoney, Meta(description="that it takes back, without taxes on top; below 0: that it bills")
    ]
    corrects: CorrectedLineAnswer | UnsetType = UNSET


class CreditNoteGrantAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The credit that the customer got."""

    grant_id: Ulid
    amount: CreditMoney


class CreditNoteAnswer(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A credit note: what is taken back of an issued invoice."""

    id: Ulid
    number: Annotated[str, Meta(description="of the series of credit notes")] | UnsetType = UNSET
    status: Annotated[Literal["issuing", "issued"], Meta(description="issuing: it waits for its number")]
    customer: CreditNoteCustomerAnswer
    currency: str
    reason: str
    invoice: CreditedInvoiceAnswer
    lines: list[CreditNoteLineAnswer]
    total: Annotated[CreditMoney, Meta(description="with taxes: what went to credits and off what was due")]
    tax: Annotated[CreditMoney, Meta(description="of the total, also where prices have it in them")]
    returned_to_credits: Annotated[
        CreditMoney, Meta(description="of the total: what credits had paid, which have it again")
    ]
    taken_off_due: Annotated[
        CreditMoney, Meta(description="of the total: off what was due for the invoice, which was not paid")
    ]
    credit: CreditNoteGrantAnswer | UnsetType = UNSET
    created_at: Instant
    issued_at: Instant | UnsetType = UNSET


class CreditNoteList(msgspec.Struct, forbid_unknown_fields=True):
    data: list[CreditNoteAnswer]
    meta: CreditListMeta
