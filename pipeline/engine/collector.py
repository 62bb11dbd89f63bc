"""Python's collector of cycles in processes that keep much in memory.

Owns: how it is tuned. Does not own: when, which is once everything that lives as long as the process is in memory.
"""

from __future__ import annotations

import gc


def look_rarely(objects: int, young: int = 10) -> None:
    """Leave out what is alive now, and look for cycles rarely.

    Args:
        objects: How many new ones there are before the collector looks at them.
        young: How many looks at new objects before it looks at those that were left.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(objects, young, 100)
