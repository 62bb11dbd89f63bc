"""Prices as the cases write them in short."""

from __future__ import annotations

from typing import Any

from pipeline.core.catalog.price import Price
from pipeline.core.catalog.price_reading import read_price


def price_of(wire: dict[str, Any]) -> Price:
    """A price whose tiers are written in short."""
    body = {name: value for name, value in wire.items() if name not in ("min", "max")}
    body |= {f"{name}imumAmount": wire[name] for name in ("min", "max") if name in wire}
    if "tiers" in wire:
        body["tiers"] = [tier_body(tier) if "upTo" in tier else tier for tier in wire["tiers"]]
    return read_price("case", body, by_event=True)


def tier_body(tier: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {} if tier["upTo"] is None else {"upToAmount": tier["upTo"]}
    for name in ("flat", "unit"):
        amount = tier.get(name, tier.get(f"{name}Price"))
        body[f"{name}Price"] = None if amount is None else {"type": name, "amount": amount}
    return body
