"""Cases of other billing systems: inputs and the money that they give, read from their public tests and documentation.

Each file says its conventions in `what`; each case names its source. A test file takes every case of its file: one that
it leaves out is named there with the reason.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "cases"
Case = dict[str, Any]


def load(name: str) -> list[Case]:
    cases: list[Case] = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))["cases"]
    return cases


def cases(name: str, left_out: dict[str, str]) -> list[Case]:
    """The cases of a file but those that are left out, each of which must be there."""
    found = load(name)
    assert set(left_out) <= {case["id"] for case in found}
    return [case for case in found if case["id"] not in left_out]
