"""Objects in a forked child whose sockets, locks and threads belong to the parent.

Owns: notifying them. Does not own: their reaction.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    def after_fork(self) -> None: ...


_living: WeakSet[Forked] = WeakSet()


def register(living: Forked) -> None:
    """Let `living.after_fork()` be called in each child, before any other call."""
    _living.add(living)


def _in_child() -> None:
    for living in list(_living):
        living.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_in_child)
