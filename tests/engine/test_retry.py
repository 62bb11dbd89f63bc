"""Retries: doubling pauses with jitter, one log line an attempt, and an end as soon as `stop` says so."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.engine.retry import Retry, within
from pipeline.errors import Broken, Unavailable

LOG = logging.getLogger("tests.retry")
FIRST_S, MOST_S = 0.002, 0.008

Run = Callable[[Retry, Callable[..., Any]], Any]


class Service:
    """Is unavailable for the first `away` calls; `on_call` is called at each of them."""

    def __init__(
        self, away: int, error: Exception | None = None, on_call: Callable[[], None] = lambda: None
    ) -> None:
        self.away, self.calls = away, 0
        self._error = error or Unavailable("the service says why")
        self._on_call = on_call

    def __call__(self) -> int:
        self.calls += 1
        self._on_call()
        if self.calls <= self.away:
            raise self._error
        return self.calls


@pytest.fixture(params=["blocking", "in_thread"])
def run(request: pytest.FixtureRequest) -> Run:
    if request.param == "blocking":
        return lambda retry, attempt: retry.blocking(attempt)
    return lambda retry, attempt: asyncio.run(retry.in_thread(attempt))


def test_the_result_of_the_attempt_that_succeeds(run: Run) -> None:
    assert run(Retry(LOG, "do it", first_s=FIRST_S, most_s=MOST_S), Service(3)) == 4


def test_arguments_are_handed_on() -> None:
    retry = Retry(LOG, "add")
    assert retry.blocking(lambda a, b: a + b, 1, 2) == 3
    assert asyncio.run(retry.in_thread(lambda a, b: a + b, 1, 2)) == 3


def test_the_log_names_the_action_the_pause_and_the_services_message(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    run(Retry(LOG, "write to it", first_s=FIRST_S, most_s=MOST_S), Service(2))
    assert [record.getMessage() for record in caplog.records] == [
        "cannot write to it, retrying in 0.0 s: the service says why"
    ] * 2


def test_pauses_double_up_to_a_limit_and_have_jitter(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run(Retry(LOG, "do it", first_s=FIRST_S, most_s=MOST_S), Service(6))
    pauses: list[float] = [record.args[1] for record in caplog.records]  # type: ignore[index,misc]
    least = [0.002, 0.004, 0.008, 0.008, 0.008, 0.008]
    assert all(low <= pause <= low + FIRST_S for low, pause in zip(least, pauses, strict=True)), pauses
    assert len(set(pauses[2:])) > 1


def test_stop_ends_a_pause_at_once_and_one_attempt_follows(run: Run) -> None:
    stopping = threading.Event()
    service = Service(99, on_call=lambda: threading.Timer(0.05, stopping.set).start())
    with pytest.raises(Unavailable, match="the service says why"):
        run(Retry(LOG, "do it", stopping.is_set, first_s=3600, most_s=3600), service)
    assert service.calls == 2


def test_no_attempt_follows_one_that_failed_after_stop(run: Run) -> None:
    service = Service(99)
    with pytest.raises(Unavailable):
        run(Retry(LOG, "do it", lambda: True, first_s=3600), service)
    assert service.calls == 1


def test_another_error_is_raised_at_once(run: Run) -> None:
    service = Service(99, Broken("an invariant"))
    with pytest.raises(Broken, match="an invariant"):
        run(Retry(LOG, "do it", first_s=3600), service)
    assert service.calls == 1


def test_two_at_once_do_not_disturb_each_other() -> None:
    retry = Retry(LOG, "do it", first_s=FIRST_S, most_s=MOST_S)

    async def both() -> list[int]:
        return await asyncio.gather(*(retry.in_thread(Service(away)) for away in (1, 4, 2)))

    assert asyncio.run(both()) == [2, 5, 3]


def test_within_a_time_errors_that_pass_are_waited_out() -> None:
    assert within(60, Service(3), lambda error: isinstance(error, Unavailable), FIRST_S) == 4


def test_after_the_time_the_last_error_is_raised() -> None:
    with pytest.raises(Unavailable, match="the service says why"):
        within(0.01, Service(1 << 60), lambda _: True, FIRST_S)


def test_an_error_that_does_not_pass_is_raised_at_once() -> None:
    service = Service(99, Broken("an invariant"))
    with pytest.raises(Broken):
        within(60, service, lambda error: isinstance(error, Unavailable))
    assert service.calls == 1
