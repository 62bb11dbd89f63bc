"""Numbers of invoices: 1..n in each series, without a gap or a repeat, one for each invoice.

Owns: which series an invoice belongs to, the next number of it, the text of a number. Does not own: when a number is
requested (machine: once the content is fixed), the stage that holds the rows.

A series counts a namespace, a customer or a profile, and credit notes apart. Two rows are written together: the last
number of the series, and the number of the invoice. The number of an invoice that has one is returned again, so a
request may be repeated or replayed. A draft has no count: its number is a function of its id.

    INV-ACME-41             PREFIX - CUST - n, where CUST is made from the customer's name
    INV-ACME7WZ9X8ZQ-3      in a series of one customer, which needs more than the name
    DRAFT-ACME-7WZ9X8ZQD6
    CREDITS-ACME-7WZ9X8ZQD6   a statement that credits settle: no invoice, so it is in no series

Source: openmeterio/openmeter at 7e57a394, `openmeter/billing/service/seq.go` for CUST and the prefixes. There the
counters may have gaps.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, MutableMapping
from hashlib import blake2b
from typing import Final, Literal, NamedTuple

import msgspec

from pipeline.errors import Broken, Rejected

SeriesScope = Literal["namespace", "customer", "profile"]
NumberedKind = Literal["standard", "credit_note"]

MOST_CHARACTERS: Final = 26  # what Stripe takes
MOST_PREFIX: Final = 6
MOST_START: Final = 999
INVOICE_PREFIX: Final = "INV"
CREDIT_NOTE_PREFIX: Final = "CN"
SIMULATED: Final = "INV-SIMULATED"
_UNKNOWN = "UNKN"
_CODE = 4
_HASH_CHARACTERS = 10
_CUSTOMER_CHARACTERS = 8
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # as those of ULIDs
_PREFIX = re.compile(rf"[A-Z0-9]{{1,{MOST_PREFIX}}}", re.ASCII).fullmatch


class Numbering(msgspec.Struct, frozen=True, rename="camel"):
    """The numbering of a profile. start: the first number of each of its series."""

    prefix: str = INVOICE_PREFIX
    scope: SeriesScope = "namespace"
    start: int = 1


class NumberRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What an invoice asks for. It is repeated with the same members.

    Attributes:
        series: as `series_of` names it.
        invoice_id: a ULID.
        stem: the number without its count, as `stem_of` makes it.
        start: the first number, if the series is new.
    """

    series: str
    invoice_id: str
    stem: str
    start: int = 1


class NumberRow(NamedTuple):
    """The number of an invoice. place: of the number in its series."""

    series: str
    place: int
    number: str


def check_numbering(numbering: Numbering) -> None:
    """Raises Rejected `bad-billing-profile` for a numbering whose numbers would be too long or not its own."""
    prefix = numbering.prefix
    if not _PREFIX(prefix) or prefix in ("DRAFT", "GATHER") or prefix.startswith(CREDIT_NOTE_PREFIX):
        raise Rejected(
            "bad-billing-profile",
            f"numbering prefix must have 1 to {MOST_PREFIX} capital letters and digits, must not begin with "
            f"{CREDIT_NOTE_PREFIX} and must not be DRAFT or GATHER",
        )
    if not 1 <= numbering.start <= MOST_START:
        raise Rejected("bad-billing-profile", f"numbering start must be from 1 to {MOST_START}")


def check_apart(numbering: Numbering, profile_id: str, others: Mapping[str, Numbering]) -> None:
    """Refuse a numbering that would give numbers of another profile's series.

    Args:
        numbering: of the profile.
        profile_id: of the profile.
        others: profile id -> numbering of each profile of the namespace, deleted ones too.

    Raises:
        Rejected: `bad-billing-profile`: a prefix is used with one scope, and by one profile if that is its scope.
    """
    for other_id, other in others.items():
        shared = other_id != profile_id and other.prefix == numbering.prefix
        if shared and (other.scope != numbering.scope or numbering.scope == "profile"):
            raise Rejected(
                "bad-billing-profile",
                f"numbering prefix {numbering.prefix} is used by the profile {other_id} with the scope {other.scope}",
            )


def series_of(
    namespace: str, kind: NumberedKind, numbering: Numbering, customer_id: str, profile_id: str
) -> str:
    """The name of the series of an invoice: two of them never share one unless they share prefix and scope.

    >>> series_of("default", "standard", Numbering(), "01C", "01P")
    'default/INV/namespace'
    >>> series_of("default", "credit_note", Numbering("ACME", "customer"), "01C", "01P")
    'default/CNACME/customer/01C'
    """
    owner = {"namespace": "", "customer": f"/{customer_id}", "profile": f"/{profile_id}"}[numbering.scope]
    return f"{namespace}/{_prefix(kind, numbering)}/{numbering.scope}{owner}"


def stem_of(kind: NumberedKind, numbering: Numbering, customer_name: str, customer_id: str) -> str:
    """The number without its count. In a series of a customer its id makes it differ from those of other customers.

    >>> stem_of("standard", Numbering(), "Acme Inc.", "01J0000000000000000000000A")
    'INV-ACIN'
    """
    code = customer_code(customer_name)
    if numbering.scope == "customer":
        code += _hash(customer_id, _CUSTOMER_CHARACTERS)
    return f"{_prefix(kind, numbering)}-{code}"


def give(
    lasts: MutableMapping[str, int], rows: MutableMapping[str, NumberRow], request: NumberRequest
) -> NumberRow:
    """The number of an invoice.

    Args:
        lasts: series -> its last place; changed if the invoice has no number yet.
        rows: invoice id -> its number; changed with `lasts`.
        request: of the invoice.

    Raises:
        Broken: the invoice has a number of another series.
        Rejected: `number_series_is_full`; nothing was changed.
    """
    known = rows.get(request.invoice_id)
    if known is not None:
        if known.series != request.series:
            raise Broken(
                f"The invoice {request.invoice_id} has a number of {known.series}, not {request.series}."
            )
        return known
    place = lasts.get(request.series, request.start - 1) + 1
    number = f"{request.stem}-{place}"
    if len(number) > MOST_CHARACTERS:
        raise Rejected(
            "number_series_is_full",
            f"The series {request.series} has no numbers of {MOST_CHARACTERS} characters left.",
        )
    lasts[request.series] = place
    rows[request.invoice_id] = NumberRow(request.series, place, number)
    return rows[request.invoice_id]


def draft_number(invoice_id: str, customer_name: str) -> str:
    """The number of a draft, a pure function of its id.

    >>> draft_number("01J0000000000000000000000A", "Acme")
    'DRAFT-ACME-7WZ9X8ZQD6'
    """
    return f"DRAFT-{customer_code(customer_name)}-{_hash(invoice_id, _HASH_CHARACTERS)}"


def statement_number(invoice_id: str, customer_name: str) -> str:
    """The number of a statement that credits settle, a pure function of its id."""
    return f"CREDITS-{customer_code(customer_name)}-{_hash(invoice_id, _HASH_CHARACTERS)}"


def gathering_number(invoice_id: str, customer_name: str, currency: str) -> str:
    """The number of a gathering invoice, a pure function of its id."""
    return f"GATHER-{customer_code(customer_name)}-{currency}-{_hash(invoice_id, _HASH_CHARACTERS)}"


def customer_code(name: str) -> str:
    """Up to four letters of a name: the first four of one word, two each of the first two words, without accents.

    >>> [customer_code(name) for name in ("Acme", "acme rockets ltd", "Ça va", "株式会社", "4 Seasons")]
    ['ACME', 'ACRO', 'CAVA', 'UNKN', '4SE']
    """
    plain = unicodedata.normalize("NFKD", name).upper()
    ascii_words = (re.sub(r"[^A-Z0-9]", "", word) for word in plain.split())
    words = [word for word in ascii_words if word]
    if not words:
        return _UNKNOWN
    return words[0][:_CODE] if len(words) == 1 else words[0][:2] + words[1][:2]


def _prefix(kind: NumberedKind, numbering: Numbering) -> str:
    if kind == "standard":
        return numbering.prefix
    return CREDIT_NOTE_PREFIX + ("" if numbering.prefix == INVOICE_PREFIX else numbering.prefix)


def _hash(text: str, characters: int) -> str:
    number = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
    return "".join(_DIGITS[number >> 5 * place & 31] for place in range(characters))
