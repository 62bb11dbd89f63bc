"""What a fork leaves in the child: objects whose sockets, locks and threads belong to the parent.

Owns: telling them. Does not own: what they do then.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    def after_fork(self) -> None: ...


_living: WeakSet[Forked] = WeakSet()


def tell(living: Forked) -> None:
    """`living.after_fork()` is called in each child, before it does anything else."""
    _living.add(living)


def _in_child() -> None:
    for living in list(_living):
        living.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_in_child)
