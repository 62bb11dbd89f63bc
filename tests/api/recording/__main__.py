"""`python -m tests.api.recording [--record]`: compares the API with its records, or writes them again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TEST = Path(__file__).parents[1] / "test_recorded.py"

if __name__ == "__main__":
    sys.exit(pytest.main([str(TEST), "-n", "0", "-p", "no:cacheprovider", *sys.argv[1:]]))
