"""Large answers are made one at a time; small ones wait for none."""

from __future__ import annotations

import gc
import threading

from pipeline.api.http.large_answers import LARGE_BYTES, LargeAnswers
from pipeline.stores.clickhouse.client import Parameters, Rows, Sized


class Answering:
    """A store whose answers have one size."""

    def __init__(self, size: int) -> None:
        self.size = size

    def query(self, sql: str, parameters: Parameters | None = None, sized: Sized | None = None) -> Rows:
        if sized is not None:
            sized(self.size)
        return []


LARGE, SMALL = Answering(LARGE_BYTES), Answering(LARGE_BYTES - 1)


def test_a_second_large_answer_waits_until_the_first_is_made() -> None:
    answers, began = LargeAnswers(), threading.Event()

    def second() -> None:
        with answers.within(LARGE) as store:
            store.query("")
            began.set()

    with answers.within(LARGE) as store:
        store.query("")
        store.query("")  # the turn is its own already
        thread = threading.Thread(target=second)
        thread.start()
        with answers.within(SMALL) as small:
            small.query("")  # a small one does not wait
        assert not began.wait(0.1)
    assert began.wait(300)
    thread.join()


def test_garbage_is_collected_again_whatever_happens() -> None:
    answers = LargeAnswers()
    for _ in range(2):
        try:
            with answers.within(LARGE) as store:
                store.query("")
                assert not gc.isenabled()
                raise KeyError
        except KeyError:
            assert gc.isenabled()
