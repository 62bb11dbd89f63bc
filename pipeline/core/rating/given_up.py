"""What is still owed for a line after some of its bookings were given up.

Owns: which parts of a line owe nothing. Does not own: the difference that a run bills (booking), what is given up
(bills.given_up).

What was given up was billed, and is not paid. So it lowers what is owed, and never makes it less than nothing: owed
is what the part is worth beyond it. Usage that falls below what was given up brings back only what is paid; usage that
rises above it is billed from there on. That depends on the final usage alone, whatever came before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.core.rating.detail import RatedDetail


def covered_parts(
    worth: Sequence[Iterable[RatedDetail]],
    given_up: Sequence[Iterable[RatedDetail] | None],
    moves: bool,
) -> list[bool]:
    """Which parts owe nothing, since what was given up is worth as much or more.

    Args:
        worth: of each part, by the usage that is known.
        given_up: of each part; None: all of it, whatever it is worth.
        moves: a later part takes components off an earlier one, as a price of one amount does with each new total. Then
            parts are not compared one by one, only all of them together.
    """
    owed = [
        0 if left is None else _total(part) - _total(left) for part, left in zip(worth, given_up, strict=True)
    ]
    found = [bool(left) and due < 0 and not moves for left, due in zip(given_up, owed, strict=True)]
    is_any = any(left is None or left for left in given_up)
    if is_any and sum(due for due, is_covered in zip(owed, found, strict=True) if not is_covered) < 0:
        return [True] * len(found)
    return found


def _total(details: Iterable[RatedDetail]) -> int:
    return sum(one.total for one in details)
