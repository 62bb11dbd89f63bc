"""What an answer of `upcoming` costs: `python -m tests.bench.upcoming --lines 10`.

The work of the API between the request and its answer, in memory: the gathering invoice read, its lines rated now and
as expected, the JSON. Printed are milliseconds of CPU, so that other work on the machine counts less, and function
calls, which do not depend on it at all.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time

from pipeline.api.http.json_response import answer
from pipeline.api.invoices.invoice_json import read_invoice
from pipeline.api.invoices.upcoming import _shown
from pipeline.core.invoices.forecast import upcoming_invoices
from pipeline.records import BillDocument
from tests.bench.billing import BenchWorld, world_of
from tests.core.bills.bill_world import DAY_S, at


def gathering(world: BenchWorld, models: list[str]) -> BillDocument:
    """The gathering invoice of a customer after two days of usage."""
    world.now_s = at("2026-01-10")
    world.subscribe_all()
    world.settle_all()
    for _ in range(2):
        world.now_s += DAY_S
        world.many(world.use_all(models))
        world.now_s += 60
        world.settle_all()
    (found,) = [
        one
        for one in world.published.invoices.values()
        if read_invoice(one.body).progress.state == "gathering"
    ]
    return found


def answered(document: BillDocument, aggregations: dict[str, str], now_ms: int) -> bytes:
    """The body of an answer."""
    found = upcoming_invoices(read_invoice(document.body), aggregations, now_ms)
    return bytes(answer({"items": [_shown(one, document) for one in found]}).body)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=10, help="metered lines of the customer")
    parser.add_argument("--times", type=int, default=1_000)
    asked = parser.parse_args()
    models = [f"m{place}" for place in range(asked.lines)]
    world = world_of(1, models)
    document, aggregations = gathering(world, models), dict.fromkeys(models, "SUM")
    taken_ms = []
    for _ in range(asked.times):
        began_ns = time.thread_time_ns()
        body = answered(document, aggregations, world.now_s * 1000)
        taken_ms.append((time.thread_time_ns() - began_ns) / 1e6)
    taken_ms.sort()
    profile = cProfile.Profile()
    profile.runcall(answered, document, aggregations, world.now_s * 1000)
    calls = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    p50, p99 = taken_ms[asked.times // 2], taken_ms[asked.times * 99 // 100]
    print(
        f"{asked.lines} metered lines, {len(document.body)} bytes read, {len(body)} answered: p50 {p50:.2f} ms of "
        f"CPU, p99 {p99:.2f} ms; {calls} function calls"
    )


if __name__ == "__main__":
    main()
