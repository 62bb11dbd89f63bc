"""python -m tests.flow.billing_twice --customers 1000 --data /tmp/billing

Two months of customers who change their plans: once straight, once while the workers of billing, numbering and control
are killed, and with --broker the broker too. The documents of both are equal byte for byte but for what the order of
several partitions decides (which invoice has which number), and the numbers of both are 1..n. Exit code 1 otherwise.
The broker runs under DIR.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.ledger.trial_balance import trial_balance
from pipeline.settings import Settings
from tests.fixtures.broker import reset_topics
from tests.flow.billing_line import BillingLine
from tests.flow.billing_story import BillingStory, Disturb, calm
from tests.flow.own_broker import STARTED_S, own_broker

PARTITIONS = 8
# In which step which worker is killed: at once, or when it reaches a crash point.
KILLS = {
    "subscribe": [("billing", "produce.after")],
    "grant": [("billing", "commit.after")],
    "clock 2040-01-04T08:00:00.000Z": [("billing", "commit.after"), ("numbering", "commit.after")],
    "change": [("control", ""), ("billing", "table.before")],
    "clock 2040-02-01T00:00:00Z + 1 h": [("billing", "commit.before"), ("numbering", "produce.after")],
}
BROKER_KILLED = ("subscribe", "clock 2040-02-01T00:00:00Z + 0 h")


@dataclass(frozen=True)
class Comparison:
    """invoices: with a number. restarts: of workers, in the run with kills. wrong: every difference."""

    invoices: int
    restarts: int
    wrong: list[str]


def compare(
    settings: Settings, folder: Path, customers: int, restart_broker: Callable[[], None] | None = None
) -> Comparison:
    """Carry the story out twice and compare. restart_broker: kills the broker and starts it again."""
    straight = _two_months(settings, folder / "straight", customers, calm)
    killed = _two_months(settings, folder / "killed", customers, None, restart_broker)
    wrong = _differences(straight, killed)
    for story in (straight, killed):
        wrong += story.wrong_numbers() + trial_balance(story.line.ledger.values()).differences
    return Comparison(len(straight.numbers()), killed.line.started - straight.line.started, wrong)


def _two_months(
    settings: Settings,
    folder: Path,
    customers: int,
    disturb: Disturb | None,
    restart_broker: Callable[[], None] | None = None,
) -> BillingStory:
    """The story. disturb: None kills at KILLS."""
    folder.mkdir(parents=True)
    reset_topics(settings)

    with BillingLine(settings, folder) as line:

        def kill(step: str) -> None:
            for stage, point in KILLS.get(step, ()):
                if point:
                    line.arm(stage, point)
                else:
                    line.restart(stage)
            if restart_broker is not None and step in BROKER_KILLED:
                restart_broker()

        story = BillingStory(line, customers, disturb or kill)
        line.start()
        story.define()
        story.subscribe("basic")
        story.grant_credits()
        story.use(3)
        story.pass_to("2040-01-16T12:00:00Z")
        story.change_plans()
        story.use(20)
        story.end_month("2040-02-01T00:00:00Z")
        story.use(20, late_from=33)
        story.use(40)
        story.end_month("2040-03-01T00:00:00Z")
    return story


def _differences(straight: BillingStory, killed: BillingStory) -> list[str]:
    expected, found = straight.contents(), killed.contents()
    wrong = [f"{key} is in one run only" for key in sorted(expected.keys() ^ found.keys())]
    for key in sorted(expected.keys() & found.keys()):
        if found[key] != expected[key]:
            wrong.append(f"{key}: {expected[key]} became {found[key]}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--customers", type=int, default=1_000)
    parser.add_argument("--broker", action="store_true", help="kill the broker too")
    parser.add_argument("--data", type=Path, default=None)
    asked = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="billing-twice-") as made:
        folder = asked.data or Path(made)
        with own_broker(folder / "kafka") as broker:

            def restart() -> None:
                broker.kill()
                broker.start(STARTED_S)

            settings = Settings.model_construct(kafka=broker.address, partitions=PARTITIONS)
            found = compare(settings, folder / "run", asked.customers, restart if asked.broker else None)
    for difference in found.wrong:
        print(f"WRONG: {difference}")
    print(
        f"{found.invoices} invoices of {asked.customers} customers on {PARTITIONS} partitions, {found.restarts} "
        f"workers restarted: {len(found.wrong)} differences, {time.monotonic() - began_s:.0f} s"
    )
    sys.exit(1 if found.wrong else 0)


if __name__ == "__main__":
    main()
