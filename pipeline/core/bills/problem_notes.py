"""What billing could not do for a customer, as the head of the customer's bills keeps it.

Owns: these notes. Does not own: where they are shown (problems), when something is tried again (bill_table,
customer_step).
"""

from __future__ import annotations

import msgspec


class RefusedStep(msgspec.Struct, frozen=True, array_like=True):
    """Something that was refused. code, detail: of the Rejected. since_ms: time of the first record that met it."""

    code: str
    detail: str
    since_ms: int


class UnratedLines(msgspec.Struct, frozen=True, array_like=True):
    """A group of lines whose bookings cannot be compared with its usage.

    Attributes:
        refused: why.
        name, currency, start_s: of the line.
        meter_id: whose usage it bills; 0: a fixed amount.
    """

    refused: RefusedStep
    name: str
    currency: str
    start_s: int
    meter_id: int


class UnbilledUsage(msgspec.Struct, frozen=True, array_like=True):
    """Usage of a meter that came when its period could not be billed any more.

    Attributes:
        first_s, last_s: the first and the last minute that has some, in seconds since 1970.
        windows: how many came.
        since_ms: when the first one came.
    """

    first_s: int
    last_s: int
    windows: int
    since_ms: int

    def with_minute(self, minute_s: int) -> UnbilledUsage:
        """With one more window."""
        return UnbilledUsage(
            min(self.first_s, minute_s), max(self.last_s, minute_s), self.windows + 1, self.since_ms
        )


class CustomerProblems(msgspec.Struct, frozen=True, array_like=True):
    """All of a customer.

    Attributes:
        refused: the step of a due instant; the whole customer waits for `again_ms`. None: nothing is refused.
        again_ms: when the step is tried again.
        unrated: by the id of a group.
        late: by the number of a meter.
    """

    refused: RefusedStep | None = None
    again_ms: int = 0
    unrated: dict[str, UnratedLines] = {}
    late: dict[int, UnbilledUsage] = {}


NO_PROBLEMS = CustomerProblems()
