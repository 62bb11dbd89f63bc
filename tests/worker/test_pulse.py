"""The beat of a worker's event loop: when it counts as stopped."""

from __future__ import annotations

import asyncio

from pipeline.engine.producer import TRANSACTION_TIMEOUT_MS
from pipeline.engine.stage import COMMITTED_S
from pipeline.worker.pulse import MOST_S, Pulse


def test_a_loop_that_has_not_begun_is_not_stopped() -> None:
    now_s = [0.0]
    pulse = Pulse(lambda: now_s[0])
    now_s[0] = 10 * MOST_S
    assert pulse.stopped() == ""


def test_a_loop_is_stopped_when_it_has_not_run_for_long() -> None:
    now_s = [1000.0]
    pulse = Pulse(lambda: now_s[0])
    asyncio.run(pulse.beat())
    now_s[0] += MOST_S
    assert pulse.stopped() == ""
    now_s[0] += 1.5
    assert pulse.stopped() == "The event loop has not run for 62 s."
    asyncio.run(pulse.beat())
    assert pulse.stopped() == ""


def test_it_may_be_silent_for_longer_than_a_transaction() -> None:
    assert MOST_S > COMMITTED_S and MOST_S > TRANSACTION_TIMEOUT_MS / 1000
