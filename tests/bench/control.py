"""How many changes a second control decides: `python -m tests.bench.control --clients 1 64`, on a stack of its own.

Owns: the asking, and what a change costs each process. Does not own: keep-alive connections (checks), the stack.
Each client posts one thing after the other over a connection of its own. A change is counted when it was answered, that
is, when this API and every worker that reads definitions know it. All clients share one event loop and write bytes that
were prepared, so that they leave the cores to the stack. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.cli.http import authorization
from pipeline.settings import Settings
from tests.bench.checks import Connection, quantiles
from tests.bench.measure import cpu_s
from tests.flow.stack_process import StackProcess

Wanted = Callable[[str], tuple[str, object]]  # an unused name -> path and body

CHANGES: dict[str, Wanted] = {
    "customers": lambda name: ("/customers", {"key": name, "name": name}),
    "subjects": lambda name: ("/subjects", [{"key": name}]),
}
SHOWN = ("api", "control", "kafka.Kafka")


def request(settings: Settings, wanted: Wanted) -> bytes:
    """The bytes of a change that was never asked for."""
    path, content = wanted(uuid.uuid4().hex)
    body = json.dumps(content).encode()
    head = f"POST /api/v1{path} HTTP/1.1\r\nhost: {urlsplit(settings.api_url).netloc}\r\n"
    head += "content-type: application/json\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in authorization(settings).items())
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def post(settings: Settings, wanted: Wanted, until_s: float, took_s: list[float]) -> None:
    """Changes, one after the other, until `until_s`; notes how long each took."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, settings.api_host, settings.api_port)
    while (began_s := time.perf_counter()) < until_s:
        head, body = await connection.ask(request(settings, wanted))
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            raise RuntimeError((head + body).decode()[:400])
        took_s.append(time.perf_counter() - began_s)
    connection.close()


def used_s(stack: StackProcess) -> dict[str, float]:
    """CPU seconds of each process of the stack so far, by name; those of this process are `clients`."""
    found = {"clients": time.process_time()}
    for pid, words in stack.processes():
        name = words[-1] if words[-1] == "api" or words[-2:-1] == ["worker"] else words[0]
        name = "kafka.Kafka" if "kafka.Kafka" in words else Path(name).name
        found[name] = found.get(name, 0.0) + cpu_s(pid)
    return found


async def measure(stack: StackProcess, kind: str, clients: int, seconds: float) -> None:
    """Prints two lines of the table."""
    took_s: list[float] = []
    before, began_s = used_s(stack), time.perf_counter()
    each = (stack.settings, CHANGES[kind], began_s + seconds, took_s)
    await asyncio.gather(*(post(*each) for _ in range(clients)))
    rate, after = len(took_s) / (time.perf_counter() - began_s), used_s(stack)
    cost = {name: (after[name] - before.get(name, 0.0)) / len(took_s) * 1e6 for name in after}
    shown = {name: cost.pop(name) for name in (*SHOWN, "clients") if name in cost}
    shown["all others"] = sum(cost.values())
    print(f"{kind:<10} {clients:>3} clients {rate:>8.1f} a second   ms {quantiles(took_s, 1e3)}")
    print("    CPU us a change: " + ", ".join(f"{name} {us:,.0f}" for name, us in shown.items()))
    most = sorted(cost.items(), key=lambda one: -one[1])[:6]
    print("    of the others: " + ", ".join(f"{name} {us:,.0f}" for name, us in most), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.control", description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 64, 128])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--kinds", nargs="+", choices=sorted(CHANGES), default=list(CHANGES))
    parser.add_argument("--hold", type=float, default=0, help="seconds to keep the stack, to look at it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, StackProcess(Path(folder) / "stack") as stack:
        for pid, words in stack.processes():
            print(pid, words[-1], file=sys.stderr, flush=True)
        for kind in arguments.kinds:
            for clients in arguments.clients:
                asyncio.run(measure(stack, kind, clients, arguments.seconds))
        time.sleep(arguments.hold)
    print(f"cores {os.cpu_count()}, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
