"""The interface between resources and their client.

Owns: the two protocols. Does not own: either client.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from tallymark._request import Asking, T


class Do(Protocol):
    """Executes a call. Raises TallymarkError."""

    def __call__(self, asking: Asking[T], /) -> T: ...


class AsyncDo(Protocol):
    """Executes a call. Raises TallymarkError."""

    def __call__(self, asking: Asking[T], /) -> Awaitable[T]: ...
