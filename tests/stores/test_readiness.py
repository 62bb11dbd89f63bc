"""Checks with a time limit: a service that hangs delays no other and is asked once."""

from __future__ import annotations

import threading
import time

from pipeline.errors import Unavailable
from pipeline.stores import readiness
from tests.fixtures.patience import slowed


def refuse() -> None:
    raise Unavailable("DENIED by the service itself")


def test_each_answer_is_the_services_own() -> None:
    answers = readiness.ask(readiness.probes({"good": lambda: 7, "bad": refuse}))
    assert (answers["good"].ok, answers["good"].value) == (True, 7)
    assert (answers["bad"].ok, answers["bad"].detail) == (False, "DENIED by the service itself")


def test_one_that_hangs_delays_no_other_and_is_asked_once() -> None:
    release, asked = threading.Event(), []

    def hang() -> None:
        asked.append(1)
        assert release.wait(300)

    probes = readiness.probes({"hangs": hang, "good": lambda: None})
    began_s = time.monotonic()
    for _ in range(3):
        answers = readiness.ask(probes, limit_s=0.1, fresh_s=0.0)
        assert answers["good"].ok and not answers["hangs"].ok
        assert answers["hangs"].detail.startswith("no answer for ")
    assert time.monotonic() - began_s < slowed(5)
    assert asked == [1]
    release.set()
    assert readiness.ask(probes, limit_s=10)["hangs"].ok


def test_a_fresh_answer_is_used_again() -> None:
    asked: list[int] = []
    probes = readiness.probes({"a": lambda: asked.append(1)})
    for _ in range(3):
        assert readiness.ask(probes, fresh_s=60).popitem()[1].ok
    assert asked == [1]
    assert readiness.ask(probes, fresh_s=0)["a"].ok
    assert asked == [1, 1]
