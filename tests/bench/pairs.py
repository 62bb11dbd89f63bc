"""CPU time an event against an earlier commit, in pairs of processes that alternate.

    python -m tests.bench.pairs 43a24be --pairs 15 --events 20000 --load plain

Owns: the earlier tree in a temporary folder, the pairs, the median with its confidence interval. Does not own: what is
measured (fill). Both trees read the same bytes with the same packages. On a machine that does other work too, pairs
differ by several per cent: the interval says how much is known.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import pickle
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.load import LOADS

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("fill.py")
CONFIDENCE = 0.95

Figures = dict[str, float]  # CPU microseconds an event, by stage


def tree_of(commit: str, folder: Path) -> Path:
    """The files of a commit under `folder`."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def measure(tree: Path, given: Path) -> Figures:
    """One process with the modules of `tree`."""
    command = [sys.executable, "-P", str(SCRIPT), str(given)]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def median(numbers: Sequence[float]) -> float:
    """The middle of the sorted numbers, or the mean of the two in the middle."""
    ordered, half = sorted(numbers), len(numbers) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def interval(numbers: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Bounds of the median: order statistics, whatever the distribution. All of them where there are too few."""
    ordered, n = sorted(numbers), len(numbers)
    outside, least = 0.0, 0
    for place in range(n // 2):
        outside += math.comb(n, place) * 0.5**n
        if 2 * outside > 1 - confidence:
            break
        least = place + 1
    return ordered[max(0, least - 1)], ordered[min(n - 1, n - least)]


def compare(old: Path, new: Path, given: Path, pairs: int) -> list[tuple[Figures, Figures]]:
    """The figures of both trees, pair by pair; every second pair begins with the other tree."""
    found = []
    for number in range(pairs):
        order = (old, new) if number % 2 == 0 else (new, old)
        figures = {tree: measure(tree, given) for tree in order}
        found.append((figures[old], figures[new]))
        change = figures[new]["all"] / figures[old]["all"] - 1
        print(f"pair {number + 1}: {change:+.1%}", file=sys.stderr, flush=True)
    return found


def report(found: Sequence[tuple[Figures, Figures]]) -> list[str]:
    """A line a stage: both medians, the median of the changes and its interval."""
    lines = [f"{'stage':<10}{'before us':>11}{'now us':>9}{'change':>9}   95 % interval"]
    for stage in found[0][0]:
        changes = [new[stage] / old[stage] - 1 for old, new in found]
        low, high = interval(changes)
        before, now = (median([pair[side][stage] for pair in found]) for side in (0, 1))
        lines.append(
            f"{stage:<10}{before:>11.2f}{now:>9.2f}{median(changes):>+9.1%}   {low:+.1%} to {high:+.1%}"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pairs", description=__doc__)
    parser.add_argument("commit", help="the earlier commit")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--load", choices=sorted(LOADS), default="plain")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    now_ns, load = time.time_ns(), LOADS[wanted.load]
    values = [sent.line for sent in load.records(wanted.events, wanted.seed, now_ns)]
    with tempfile.TemporaryDirectory(prefix="tallymark-pairs-") as name:
        given = Path(name) / "input.pickle"
        given.write_bytes(pickle.dumps((load.meters, values, now_ns // 1_000_000)))
        old = tree_of(wanted.commit, Path(name) / "before")
        print("\n".join(report(compare(old, ROOT, given, wanted.pairs))))


if __name__ == "__main__":
    main()
