"""Who is a member of the readers' consumer groups, asked of Kafka for many requests at once.

Owns: one admin client, and that each request gets an answer that was asked for after it. Does not own: what membership
means (stores.kafka.commands).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class _Look:
    """One question to Kafka, and who waits for its answer."""

    ended: threading.Event = field(default_factory=threading.Event)
    found: set[str] = field(default_factory=set)
    error: Exception | None = None


class Membership:
    """ask: the members now; blocks, may raise Unavailable."""

    def __init__(self, ask: Callable[[], set[str]]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._waiting: _Look | None = None  # not asked yet
        self._asking = threading.Lock()

    def now(self) -> set[str]:
        """The members at some time after this call began. Raises what `ask` raises."""
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
        """Asks once the question before is answered; whoever came until then shares the answer."""
        with self._asking:
            with self._lock:
                self._waiting = None
            try:
                look.found = self._ask()
            except Exception as error:  # handed to everybody who waits
                look.error = error
            finally:
                look.ended.set()
