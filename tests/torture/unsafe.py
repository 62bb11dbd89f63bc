"""Tallymark with a part of its safety taken out, to show that the torture run notices it.

    python -m tests.torture.unsafe dedupe worker dedupe

Owns: what each switch replaces, in this process only; the product itself has no such switch. Does not own: which run
has to fail (controls). Switches: `dedupe`: nothing is a repeat. `decimals`: sums go through floats. `transaction`:
outputs, changelog and counts by a plain idempotent producer, the position committed after them. `offset-lock`: no
position ever comes twice, so that a replay looks like new input. `marks`: which thresholds have fired is not stored.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

log = logging.getLogger("tallymark.unsafe")


def no_dedupe() -> None:
    """Every event is seen for the first time."""
    from pipeline.agents import dedupe

    class Unseen:
        def get_many(self, keys: list[bytes]) -> Sequence[bytes | None]:
            return [None] * len(keys)

    real = dedupe.decide

    def decide(batch: Any, position: int, seen: Any, lifetime_ms: int) -> Any:
        one_by_one = real(batch, position, Unseen(), lifetime_ms)
        repeats = {id(settled.event) for settled in one_by_one.repeats}
        assert len(repeats) <= len(batch.events)
        return one_by_one

    dedupe.decide = decide


def floats() -> None:
    """A sum is read, added and written as a float."""
    from pipeline.core.metering import window_state
    from pipeline.core.values import number

    def add(a: Any, b: Any) -> Any:
        if abs(a) < number.SCALE and abs(b) < number.SCALE:  # a COUNT, or as good as exact
            return a + b
        return round((a / number.SCALE + b / number.SCALE) * number.SCALE)

    window_state.FOLD.update({"SUM": add, "AVG": add})


def no_transaction() -> None:
    """Outputs first, then the position, each by itself: a stop in between sends the outputs again."""
    from confluent_kafka import Producer

    from pipeline.engine import partition
    from pipeline.engine.crash_points import reach
    from pipeline.engine.producer import OPTIONS, TransactionalProducer

    class PlainProducer(TransactionalProducer):
        def __init__(self, kafka: Any, group: str, position: Any) -> None:
            super().__init__(kafka, group, position)  # commits positions; fences an earlier owner's
            self._positions = self._producer
            plain = {key: value for key, value in OPTIONS.items() if not key.startswith("transaction")}
            self._producer = Producer({**kafka, **plain})

        def begin(self) -> None:
            return

        def commit(self, next_offset: int, group_metadata: Any) -> None:
            if self._producer.flush(60):
                raise RuntimeError("not everything was delivered")
            plain, self._producer = self._producer, self._positions
            try:
                super().begin()
                super().commit(next_offset, group_metadata)
            finally:
                self._producer = plain
            reach("commit.after")

    partition.TransactionalProducer = PlainProducer  # type: ignore[misc]


def no_offset_lock() -> None:
    """Positions that never repeat: neither state nor counts can tell a replay."""
    from pipeline.agents import aggregate, dedupe
    from pipeline.engine.transaction import Transaction

    def fresh(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(events: Any, position: int, *more: Any) -> Any:
            return real(events, time.time_ns(), *more)

        return call

    aggregate.count = fresh(aggregate.count)
    dedupe.decide = fresh(dedupe.decide)
    Transaction.counted_offset = property(lambda self: -1)  # type: ignore[assignment,method-assign]


def no_marks() -> None:
    """Do not store which thresholds have fired."""
    from pipeline.core.notifications import balance_alerts

    real = balance_alerts.threshold.judge

    def judge(marks: Any, *more: Any) -> Any:
        return real(None, *more)

    balance_alerts.threshold.judge = judge  # type: ignore[assignment]
    balance_alerts._is_calm = lambda *_: False  # type: ignore[assignment]


SWITCHES = {
    "dedupe": no_dedupe,
    "decimals": floats,
    "transaction": no_transaction,
    "offset-lock": no_offset_lock,
    "marks": no_marks,
}


def main() -> None:
    """`unsafe SWITCH[,SWITCH] worker STAGE`: takes it out, then runs the command."""
    names, words = sys.argv[1].split(","), sys.argv[2:]
    for name in names:
        SWITCHES[name]()
        print(
            f"UNSAFE: {name} is switched off in this process; its numbers are wrong on purpose",
            file=sys.stderr,
        )
    from pipeline.cli import main as cli

    sys.argv = ["tallymark", *words]
    cli.main()


if __name__ == "__main__":
    main()
