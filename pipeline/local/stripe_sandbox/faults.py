"""Faults that a script asks for: which calls fail, and how.

Owns: the kinds of fault and the choice of the next one. Does not own: carrying it out (server). The choice comes from
a seed, so that a run can be repeated.
"""

from __future__ import annotations

from random import Random
from typing import Literal

import msgspec

FaultKind = Literal[
    "rate-limited",  # 429 without advice
    "rate-limited-retry",  # 429 with Stripe-Should-Retry: true
    "error-stored",  # executed, and 500 is the answer
    "error-not-stored",  # not executed, 500
    "timeout-before",  # not executed, no answer
    "timeout-after",  # executed, no answer
    "reset-before",  # not executed, the connection is closed
    "reset-after",  # executed, the connection is closed
    "unavailable",  # 503 of a proxy, without a JSON body
]
EXECUTED: frozenset[FaultKind] = frozenset({"error-stored", "timeout-after", "reset-after"})


class FaultRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which calls fail. share_permille: of 1,000 calls so many; times: after so many faults it ends, 0: never.

    path: the beginning of the path. from_s, to_s: of the sandbox's clock, half open; 0: without a bound.
    """

    kinds: list[FaultKind]
    path: str = "/v1/"
    method: str = ""
    share_permille: int = 1_000
    times: int = 0
    from_s: int = 0
    to_s: int = 0


class Faults:
    """The rules in force; the first that fits a call decides."""

    def __init__(self, rules: list[FaultRule] | None = None, seed: int = 0) -> None:
        self.made: dict[str, int] = {}
        self._rules = list(rules or [])
        self._used = [0] * len(self._rules)
        self._random = Random(seed)

    def next(self, method: str, path: str, now_s: int) -> FaultKind | None:
        """The fault of this call; None: it succeeds or fails by itself."""
        for place, rule in enumerate(self._rules):
            if not path.startswith(rule.path) or rule.method not in ("", method):
                continue
            if now_s < rule.from_s or (rule.to_s and now_s >= rule.to_s):
                continue
            if rule.times and self._used[place] >= rule.times:
                continue
            if self._random.randrange(1_000) >= rule.share_permille:
                return None
            self._used[place] += 1
            kind = self._random.choice(rule.kinds)
            self.made[kind] = self.made.get(kind, 0) + 1
            return kind
        return None
