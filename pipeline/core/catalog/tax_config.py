"""How something that is sold is taxed: the codes by which rates and outside systems know it.

Owns: the Structs, reading a client's tax configuration. Does not own: rates (rating.tax), which rate a code means
(invoices.taxed_lines). Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` TaxConfig.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from pipeline.core.definitions.body import BodyReader

TaxInclusion = Literal["inclusive", "exclusive"]
_STRIPE_CODE = re.compile(r"txcd_\d{8}", re.ASCII).fullmatch
_MOST_CODE, _MOST_ID = 256, 64


class TaxCode(msgspec.Struct, frozen=True, gc=False):
    """The code of a tax category in another system."""

    code: str


class TaxConfig(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """How a rate card, or a line of an invoice, is taxed.

    Attributes:
        behavior: kept and shown; the rate decides whether a tax is in the price.
        stripe, custom_invoicing, tax_code_id: of the rate, the last one first.
    """

    behavior: TaxInclusion | None = None
    stripe: TaxCode | None = None
    custom_invoicing: TaxCode | None = None
    tax_code_id: str | None = None


def read_tax_config(kind: str, body: Mapping[str, object], inside: str, dot: str = " ") -> TaxConfig:
    """The configuration that a client sent.

    Args:
        kind: of the definition that has it; `bad-<kind>` is the reason of refusals.
        body: JSON object.
        inside: the member that holds it, for refusals. dot: what lies between it and its own members.

    Raises:
        Rejected: `bad-<kind>`, with one sentence.
    """
    sent = BodyReader(kind, body, ("behavior", "stripe", "customInvoicing", "taxCodeId"), inside=inside)
    behavior: TaxInclusion | None = sent.one_of("behavior", get_args(TaxInclusion))
    codes: dict[str, TaxCode | None] = {}
    for name in ("stripe", "customInvoicing"):
        nested = sent.nested(name)
        part = None if nested is None else BodyReader(kind, nested, ("code",), inside=f"{inside}{dot}{name}")
        codes[name] = None if part is None else TaxCode(part.required("code", _MOST_CODE))
    stripe = codes["stripe"]
    if stripe is not None and not _STRIPE_CODE(stripe.code):
        sent.refuse(f"{sent.kind} stripe code must be txcd_ and eight digits")
    return TaxConfig(
        behavior=behavior,
        stripe=stripe,
        custom_invoicing=codes["customInvoicing"],
        tax_code_id=sent.text("taxCodeId", _MOST_ID),
    )
