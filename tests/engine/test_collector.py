"""The collector of cycles leaves out what was alive, and looks rarely."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc
from pipeline.engine import collector
collector.look_rarely(1_000, young=7)
print(gc.get_threshold(), gc.get_freeze_count() > 1_000)
"""


def test_what_is_alive_is_left_out() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "(1000, 7, 100) True\n"
