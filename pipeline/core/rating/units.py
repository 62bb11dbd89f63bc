"""Billed units of metered ones: conversion, and the units that a usage discount makes free.

Owns: both. Does not own: when they apply (rate). All quantities are in atto.
"""

from __future__ import annotations

from fractions import Fraction

from pipeline.core.catalog.price_terms import UnitConfig
from pipeline.core.rating.models import Exact
from pipeline.core.values import money, number
from pipeline.core.values.number import SCALE


def converted(config: UnitConfig, metered: Exact) -> Exact:
    """Billed units of metered ones, rounded where the configuration rounds. Both in atto.

    >>> config = UnitConfig(operation="divide", conversion_factor="1000", rounding="ceiling")
    >>> converted(config, 1_400 * SCALE) // SCALE
    2
    """
    factor = number.exact(config.conversion_factor)
    ratio = Fraction(SCALE, factor) if config.operation == "divide" else Fraction(factor, SCALE)
    exact = metered * ratio
    if config.rounding == "none":
        return exact.numerator if exact.denominator == 1 else exact
    step = money.unit(config.precision)
    if config.rounding == "ceiling":
        return -(-exact // step) * step
    if config.rounding == "floor":
        return exact // step * step
    return money.rounded(exact, step) * step


def usage_discount(usage: Exact, pre: Exact, free: Exact) -> tuple[Exact, Exact, Exact, Exact]:
    """Take free units from the parts before first, the rest from this one.

    >>> usage_discount(15, 5, 10)
    (10, 0, 5, 5)

    Returns:
        What is left of `usage` and `pre`, and what was taken from each.
    """
    from_pre = min(pre, free)
    from_usage = min(usage, free - from_pre)
    return usage - from_usage, pre - from_pre, from_usage, from_pre


def without_first(events: tuple[Exact, ...], free: Exact) -> tuple[Exact, ...]:
    """Events of which the first units are free."""
    left: list[Exact] = []
    for amount in events:
        taken = min(amount, free)
        free -= taken
        left.append(amount - taken)
    return tuple(left)
