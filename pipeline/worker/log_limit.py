"""Limits how often a library logs the same thing, so that an outage does not fill the disk with one sentence.

Owns: which lines of a log are left out, and the number of them in the next line of their kind. Does not own: where
lines go (worker.process), what Tallymark itself logs: each of its lines is kept.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass

LINES = 5
PERIOD_S = 60.0
MOST_KINDS = 1000  # a library that fills in its texts itself would make a kind of each line

LineKind = tuple[str, int, str]


@dataclass
class _Period:
    """What was logged of one kind since `began_s`."""

    began_s: float
    lines: int = 0
    left_out: int = 0


class LogLimit(logging.Filter):
    """Passes LINES lines of a kind in PERIOD_S. The first line of the next period says how many were left out.

    A kind is a logger, a level and a text before its arguments are filled in: aiokafka logs each attempt to connect,
    ten a second, with the same text. For handlers, since a filter of a logger does not see what its children log.

    Args:
        libraries: Loggers whose lines, and those of their children, are limited.
    """

    def __init__(self, libraries: Iterable[str]) -> None:
        super().__init__()
        self._libraries = frozenset(libraries)
        self._lock = threading.Lock()
        self._periods: dict[LineKind, _Period] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged; its text is completed when others were left out before it."""
        if record.name.partition(".")[0] not in self._libraries:
            return True
        with self._lock:
            left_out = self._left_out(record)
        if left_out:
            record.msg = f"{record.getMessage()} ({left_out} more lines like it were left out)"
            record.args = None
        return left_out is not None

    def _left_out(self, record: logging.LogRecord) -> int | None:
        """How many lines were left out before this one, or None if this one is left out too."""
        kind = (record.name, record.levelno, str(record.msg))
        period = self._periods.get(kind)
        before = 0
        if period is None or record.created - period.began_s >= PERIOD_S:
            before = period.left_out if period is not None else 0
            if len(self._periods) == MOST_KINDS:
                self._periods.clear()
            period = self._periods[kind] = _Period(record.created)
        if period.lines == LINES:
            period.left_out += 1
            return None
        period.lines += 1
        return before
