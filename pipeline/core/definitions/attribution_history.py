"""Who held a subject when, as a definition on `control` keeps it.

Owns: the shape of the history and its JSON. Does not own: when a subject changes hands (customers.attribution).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pipeline.errors import Broken
from pipeline.records import Definition

NOBODY = ""


class Holding(NamedTuple):
    """`customer` (id, or NOBODY) holds the subject from the minute `from_s` on, until the next holding."""

    from_s: int
    customer: str


def body(subject: str, holdings: Iterable[Holding]) -> dict[str, object]:
    """A history as it stands on `control`."""
    return {"subject": subject, "holders": [[one.from_s, one.customer] for one in holdings]}


def read(definition: Definition) -> list[Holding]:
    """The history that a definition of kind `attribution` holds."""
    found = (definition.body or {}).get("holders", [])
    if not isinstance(found, list):
        raise Broken(f"The attribution of the subject {definition.name} has no list of holders.")
    return [Holding(int(from_s), str(customer)) for from_s, customer in found]
