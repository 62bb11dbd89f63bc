"""Many ask for the members of a group at once: few questions, and no answer from before the asking."""

from __future__ import annotations

import itertools
import threading

import pytest

from pipeline.errors import Unavailable
from pipeline.stores.kafka.membership import Membership
from tests.fixtures.patience import PATIENCE_S


def test_those_who_ask_meanwhile_share_an_answer_that_was_asked_for_after_them() -> None:
    asked, answering, questions = threading.Semaphore(0), threading.Event(), itertools.count()

    def ask() -> set[str]:
        number = next(questions)
        asked.release()
        assert answering.wait(PATIENCE_S)
        return {str(number)}

    membership, found = Membership(ask), list[set[str]]()

    def run() -> None:
        found.append(membership.now())

    first = threading.Thread(target=run)
    first.start()
    assert asked.acquire(timeout=PATIENCE_S)  # the first call is in progress
    others = [threading.Thread(target=run) for _ in range(50)]
    for thread in others:
        thread.start()
    answering.set()
    for thread in (first, *others):
        thread.join(PATIENCE_S)
    assert found.count({"0"}) == 1  # only for the first
    assert len(found) == 51 > next(questions)


def test_every_waiting_request_gets_the_error_and_the_next_one_asks_again() -> None:
    answers: list[Exception | set[str]] = [Unavailable("away"), {"a"}]

    def ask() -> set[str]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    membership = Membership(ask)
    with pytest.raises(Unavailable):
        membership.now()
    assert membership.now() == {"a"}
