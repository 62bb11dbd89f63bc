"""How many changes a second control decides: `python -m tests.bench.control --clients 8`, against a running stack.

Each client posts one thing after the other over a connection of its own, to the API that the settings name, say that of
`tallymark dev`. A change is counted when it was answered, that is, when this API and every worker that reads
definitions know it.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
import uuid
from collections.abc import Callable

import httpx

from pipeline.cli.http import authorization
from pipeline.settings import load

Wanted = Callable[[str], tuple[str, object]]  # an unused name -> path and body

CHANGES: dict[str, Wanted] = {
    "customers": lambda name: ("/customers", {"key": name, "name": name}),
    "subjects": lambda name: ("/subjects", [{"key": name}]),
}


def post(base: str, headers: dict[str, str], wanted: Wanted, until_s: float, took_s: list[float]) -> None:
    """Changes, one after the other, until `until_s`; notes how long each took."""
    with httpx.Client(headers=headers, timeout=60) as client:
        while time.monotonic() < until_s:
            path, body = wanted(uuid.uuid4().hex)
            began_s = time.monotonic()
            response = client.post(base + path, json=body)
            response.raise_for_status()
            took_s.append(time.monotonic() - began_s)


def measure(kind: str, clients: int, seconds: float) -> str:
    """A line of the table."""
    settings = load()
    took_s: list[float] = []
    given = (f"{settings.api_url}/api/v1", authorization(settings), CHANGES[kind])
    began_s = time.monotonic()
    threads = [
        threading.Thread(target=post, args=(*given, began_s + seconds, took_s)) for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(took_s) / (time.monotonic() - began_s)
    p50, p99 = statistics.median(took_s), statistics.quantiles(took_s, n=100)[98]
    times = f"p50 {p50 * 1e3:>6.0f} ms   p99 {p99 * 1e3:>6.0f} ms"
    return f"{kind:<10} {clients:>3} clients {rate:>8.1f} a second   {times}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.control", description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--kinds", nargs="+", choices=sorted(CHANGES), default=list(CHANGES))
    arguments = parser.parse_args()
    for kind in arguments.kinds:
        for clients in arguments.clients:
            print(measure(kind, clients, arguments.seconds), flush=True)


if __name__ == "__main__":
    main()
