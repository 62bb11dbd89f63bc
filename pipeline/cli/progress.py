"""How far a long command is, on stderr.

Owns: the bar. Does not own: what is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr. Gives a function that is called with what is done, and the total."""
    with click.progressbar(length=1, label=label, file=click.get_text_stream("stderr")) as bar:

        def show(done: int, of: int) -> None:
            bar.length = max(of, 1)
            bar.update(done - bar.pos)

        yield show
