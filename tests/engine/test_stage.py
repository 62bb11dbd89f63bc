"""What a stage waits for, and for how long."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.engine.stage import in_time
from pipeline.errors import Broken, Unavailable


def test_a_call_that_ends_has_ended() -> None:
    done = threading.Event()
    with ThreadPoolExecutor() as threads:
        asyncio.run(in_time(threads, done.set, 10))
    assert done.is_set()


def test_a_call_that_never_ends_is_given_up() -> None:
    release = threading.Event()
    with ThreadPoolExecutor() as threads:
        with pytest.raises(Unavailable, match=r"did not commit within 0\.05 s"):
            asyncio.run(in_time(threads, lambda: assert_set(release), 0.05))
        release.set()


def assert_set(event: threading.Event) -> None:
    assert event.wait(300)


def test_its_error_is_the_calls() -> None:
    def fail() -> None:
        raise Broken("it is broken")

    with ThreadPoolExecutor() as threads, pytest.raises(Broken, match="it is broken"):
        asyncio.run(in_time(threads, fail, 10))
