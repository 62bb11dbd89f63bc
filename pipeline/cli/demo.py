"""`tallymark demo`: a fresh local stack, realistic events sent straight to Kafka, and their results.

Owns: the order of the steps. Does not own: the events (demo_events), the stack (local.stack), the commands
whose output it shows: they run as a user would run them.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.cli import demo_billing, demo_events, demo_quota, demo_stripe
from pipeline.cli.send import check_complete, send
from pipeline.core.metering.reconcile import reconcile
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.local.process import free_port
from pipeline.local.stack import RECEIVER_PORT, TICK_S, Stack
from pipeline.settings import CONFIG_VARIABLE
from pipeline.stores.kafka.definitions import CountsView

FOLDER = Path(".tallymark/demo")
SEED = 7
STANDSTILL_S = 60.0

SHOWN = (
    "usage llm_tokens --group-by model,kind",
    "usage api_requests --subject acme --subject globex --window DAY",
    "usage storage_gib --group-by region",
    "reconcile",
)
TRY_NEXT = (
    (
        "hours of a customer, in its time zone",
        "usage api_requests --subject acme --window HOUR --tz Europe/Berlin",
    ),
    ("the same as JSON lines", "usage llm_tokens --subject acme --group-by model --format jsonl"),
    ("events that were sent again with other content", "events --fate conflict"),
    ("rejected events with their reasons", "events --fate rejected"),
    ("lag and rate of each stage", "status"),
)
OWN_EVENT = {
    "specversion": "1.0",
    "id": "my-1",
    "source": "/me",
    "type": "llm.completion",
    "subject": "me",
    "data": {"model": "small", "kind": "input", "tokens": 42},
}


def run(data: Path | None, events: int, exit_after: bool = False) -> None:
    """Run the demo in `data` (new or empty; default: `.tallymark/demo`, emptied first).

    On a terminal it stays up until Ctrl-C, unless `exit_after`. Exits with 1 if the fates, the totals at Stripe or
    the invoices do not add up. Raises Rejected for a folder that is not empty, Unavailable when a process does not
    start or there is no progress.
    """
    console = Console(highlight=False)
    folder = fresh_folder(data)
    stack = Stack(folder, say=console.print, receiver_port=free_port(RECEIVER_PORT), stripe_sandbox=True)
    _on_signals(_interrupt)
    adds_up = False
    try:
        began_s = time.monotonic()
        console.print(f"Starting Kafka, ClickHouse, Redis and every stage in {folder}")
        stack.start()
        console.print(f"Up after {time.monotonic() - began_s:.1f} s. Kafka is at {stack.settings.kafka}.")
        adds_up = _show(stack, events, console)
        console.print(f"\nThe demo took {time.monotonic() - began_s:.0f} s.")
        if sys.stdout.isatty() and not exit_after:
            _stay(stack, console)
    except KeyboardInterrupt:
        console.print("\nstopping")
    finally:
        _on_signals(lambda number, frame: stack.kill())  # a second Ctrl-C does not wait
        stack.stop()
    if not adds_up:
        raise SystemExit(1)


def _show(stack: Stack, events: int, console: Console) -> bool:
    """Run the steps. Returns whether reconcile adds up, Stripe's totals are ours, and the invoices bill the usage."""
    meters = stack.folder / "meters.json"
    meters.write_text(json.dumps(demo_events.METERS, indent=2))
    if _command(stack, ["meters", "apply", str(meters)], console) != 0:
        raise Broken("The demo's meters were not applied.")
    _send_and_count(stack, events, console)
    if stack.settings.redis:
        demo_quota.show(stack.settings, console, stack.tend, stack.receiver_port)
    adds_up = all([_command(stack, line.split(), console) == 0 for line in SHOWN])

    def run(words: Sequence[str]) -> int:
        return _command(stack, words, console)

    synchronized = demo_stripe.show(stack.settings, console, run, stack.tend)
    return demo_billing.show(stack.settings, console, run, stack.tend) and adds_up and synchronized


def _send_and_count(stack: Stack, events: int, console: Console) -> None:
    """Return when every event has its fate. Raises Unavailable without progress for `STANDSTILL_S`."""
    columns = (TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with CountsView(stack.settings) as counts, Progress(*columns, console=console) as progress:
        sent = progress.add_task("sent", total=events)
        counted = progress.add_task("decided", total=events)

        def show(lines: int) -> int:
            stack.tend()
            decided = _decided(counts)
            progress.update(sent, completed=lines)
            progress.update(counted, completed=decided)
            return decided

        lines = demo_events.events(events, SEED, time.time_ns())
        check_complete(
            send(stack.settings, lines, progress=lambda so_far: show(so_far.lines)), stack.settings
        )
        last, moved_s = -1, time.monotonic()
        while (now := show(events)) < events:
            if now > last:
                last, moved_s = now, time.monotonic()
            elif time.monotonic() - moved_s > STANDSTILL_S:
                raise Unavailable(f"Only {now} of {events} events have a fate; see the logs in {stack.logs}.")
            time.sleep(TICK_S)


def _decided(counts: CountsView) -> int:
    """The number of events that have a fate: read, and not between two stages."""
    records = list(counts.snapshot().values())
    return sum(report.read - report.pending for report in reconcile(records).namespaces)


def _command(stack: Stack, words: Sequence[str], console: Console) -> int:
    """Print a command, run it as a user would, and return its exit code."""
    console.print(f"\n[bold]$ tallymark {shlex.join(words)}[/bold]")
    sys.stdout.flush()
    argv = [sys.executable, "-m", "pipeline.cli", *words]
    running = subprocess.Popen(argv, env=os.environ | {CONFIG_VARIABLE: str(stack.config)})
    while running.poll() is None:
        stack.tend()
        time.sleep(TICK_S / 10)
    return running.returncode


def _stay(stack: Stack, console: Console) -> None:
    """Print what to try next, and keep the stack until Ctrl-C."""
    program = _program()
    console.print("\n[bold]The stack stays up until Ctrl-C.[/bold] Try in another terminal:")
    if line := stack.export_line():
        console.print(f"  {line}", soft_wrap=True)
    for what, words in TRY_NEXT:
        console.print(f"\n  # {what}\n  {program} {words}", soft_wrap=True)
    event = json.dumps(OWN_EVENT, separators=(",", ":"))
    console.print("\n  # your own event; send it twice, and it counts once", soft_wrap=True)
    console.print(f"  echo '{event}' | {program} send -", soft_wrap=True, markup=False)
    console.print(f"  {program} usage llm_tokens --subject me", soft_wrap=True)
    while True:
        stack.tend()
        time.sleep(TICK_S)


def _program() -> str:
    """The command that starts this `tallymark` from the current directory."""
    installed = Path(sys.executable).with_name("tallymark")
    if not installed.exists():
        return f"{shlex.quote(sys.executable)} -m pipeline.cli"
    found = shutil.which("tallymark")
    if found is not None and Path(found).samefile(installed):
        return "tallymark"
    here = Path.cwd()
    return shlex.quote(str(installed.relative_to(here) if installed.is_relative_to(here) else installed))


def fresh_folder(data: Path | None) -> Path:
    """An empty folder. Only the default folder of the demo is emptied, and never while a stack runs on it."""
    if data is not None:
        if data.exists() and any(data.iterdir()):
            raise Rejected("not-empty", f"{data} is not empty; the demo needs a new folder.")
        return data
    if FOLDER.exists():
        lock = FOLDER / "lock"
        if lock.exists():
            with lock.open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise Rejected("in-use", f"Another `tallymark demo` runs on {FOLDER}.") from None
        shutil.rmtree(FOLDER)
    return FOLDER


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
