"""python -m tests.core.explain.what_ifs --lists 10 --customers 8

Random price lists. Each is asked for customers that were billed by other prices: the replay has to be, to the cent,
what billing issues when the same happens to customers who have the prices of the list. Exit code 1 otherwise.

Owns: the lists, the comparison. Does not own: what happens (random_bills), random prices (random_prices), the small
form (test_price_replay). Days have events in and out of order, early invoices and subscriptions that end.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from pipeline.core.explain.price_list import read_price_list
from pipeline.core.explain.price_replay import ReplaySpan
from pipeline.core.values import number
from tests.core.bills.bill_world import ONE_PHASE
from tests.core.bills.test_bill_laws import PRICES
from tests.core.explain.explain_world import ExplainWorld
from tests.core.explain.random_bills import subscribed
from tests.core.explain.random_prices import TYPES, amount, random_card
from tests.core.explain.test_price_replay import END, billed, live, replayed
from tests.fixtures.catalog_bodies import FEE, TOKENS, Body

AGGREGATIONS = ("SUM", "COUNT", "UNIQUE_COUNT", "LATEST")


@dataclass
class WhatIfsFound:
    """compared: pairs of a list and a customer. wrong: a sentence for each difference."""

    compared: int = 0
    lines: int = 0
    old: int = 0
    new: int = 0
    wrong: list[str] = field(default_factory=list)


def of_cards(tokens: Body, fee: str) -> list[Body]:
    """Rate cards as a price list has them."""
    return [{"key": "tokens", **tokens}, {"key": "fee", "price": {**FEE["price"], "amount": fee}}]


def billed_by(aggregation: str, cards: Sequence[Body], seed: str) -> ExplainWorld:
    """A customer who has these prices, after what happens by the seed."""
    tokens, fee = cards
    full = [{**FEE, **fee}, {**TOKENS, **tokens}]
    plan = {**ONE_PHASE, "phases": [{"key": "main", "name": "Main", "duration": None, "rateCards": full}]}
    world = subscribed(aggregation, plan=plan)
    live(world, seed)
    return world


def compare(lists: int, customers: int) -> WhatIfsFound:
    """Compare the replays of random price lists with real runs."""
    found, span = WhatIfsFound(), ReplaySpan(0, END, END)
    for place in range(lists):
        random = Random(f"what if/{place}")
        cards = of_cards(random_card(random, TYPES[place % len(TYPES)]), amount(random, 90))
        for customer in range(customers):
            aggregation = AGGREGATIONS[customer % len(AGGREGATIONS)]
            before = of_cards({"price": PRICES[(place + customer) % len(PRICES)]}, "20")
            seed = f"{place}/{customer}"
            real, other = (billed_by(aggregation, one, seed) for one in (before, cards))
            (money,) = replayed(real, read_price_list({"rateCards": cards}), span)
            found.compared += 1
            found.lines += money.lines
            for name, by in (("old", real), ("new", other)):
                replay, issued = number.parse(getattr(money, name)), billed(by, span)
                setattr(found, name, getattr(found, name) + issued)
                if replay != issued:
                    found.wrong.append(
                        f"customer {customer} by the {name} prices of list {place}: the replay is "
                        f"{number.text(replay)}, billing issued {number.text(issued)}"
                    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--lists", type=int, default=10)
    parser.add_argument("--customers", type=int, default=8, help="of each list")
    asked = parser.parse_args()
    began_s = time.process_time()
    found = compare(asked.lists, asked.customers)
    for sentence in found.wrong:
        print(f"WRONG: {sentence}")
    print(
        f"{asked.lists} price lists, {found.compared} customers, {found.lines} lines: {number.text(found.old)} EUR by "
        f"their prices, {number.text(found.new)} EUR by the lists: {len(found.wrong)} differences from real runs, "
        f"{time.process_time() - began_s:.0f} s of CPU"
    )
    sys.exit(1 if found.wrong else 0)


if __name__ == "__main__":
    main()
