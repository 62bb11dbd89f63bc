"""The members of the readers' consumer groups, with one call to Kafka for many concurrent requests.

Owns: sharing a call, so that each request gets a result that was requested after it began. Does not own: the meaning of
membership (stores.kafka.commands).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class _Look:
    """One call to Kafka, which several requests may share."""

    ended: threading.Event = field(default_factory=threading.Event)
    found: set[str] = field(default_factory=set)
    error: Exception | None = None


class Membership:
    """ask: returns the current members; it blocks, and may raise Unavailable."""

    def __init__(self, ask: Callable[[], set[str]]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._waiting: _Look | None = None  # not started yet
        self._asking = threading.Lock()

    def now(self) -> set[str]:
        """The members at some time after this call began. Raises the errors of `ask`."""
        with self._lock:
            look, is_first = self._waiting or _Look(), self._waiting is None
            self._waiting = look
        if is_first:
            self._look(look)
        look.ended.wait()
        if look.error is not None:
            raise look.error
        return look.found

    def _look(self, look: _Look) -> None:
        """Call `ask` after the call before it has ended; requests that arrive until then share the result."""
        with self._asking:
            with self._lock:
                self._waiting = None
            try:
                look.found = self._ask()
            except Exception as error:  # raised in every request that waits
                look.error = error
            finally:
                look.ended.set()
