"""A seeded stream of lines as real producers send them: good, late, repeated, conflicting and broken events.

Owns: the mix and the order. Does not own: what is right about it (recount). Same arguments, same bytes.

    python -m tests.flow.stream --events 100000 --seed 7 --out events.jsonl
    python -m tests.flow.stream --events 100000 --seed 7 --kafka 127.0.0.1:9092
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

from tests.flow.broken_lines import broken
from tests.flow.event_line import Made, line, make, subject, time_text

KeyStyle = Literal["id", "subject", "random", "none"]

BROKEN = 0.02
REPEATED = 0.15
CONFLICTING = 0.01  # of all lines; part of REPEATED
ELSEWHERE = 0.005  # an id that another source has used: another event
REMEMBERED = 50_000
DEFAULT_NOW_NS = 1_780_000_000_000_000_000


class Sent(NamedTuple):
    """One record: the line and the text that decides its partition (None: any)."""

    key: bytes | None
    line: bytes


def stream(events: int, seed: int, now_ns: int = DEFAULT_NOW_NS, key: KeyStyle = "id") -> Iterator[Sent]:
    """`events` records in sending order.

    With key "id" every copy of a (source, id) has the same key, so all of them arrive in one partition, and
    it is certain which of two conflicting events is first. The other key styles leave that open, so they send
    no conflicts and no event without a time.
    """
    rng = Random(seed)
    remembered: list[Made] = []
    recent: list[Made] = []
    for number in range(events):
        choice = rng.random()
        if choice < BROKEN:
            made = _new(rng, now_ns, number / events, key)
            yield Sent(_key(made, rng, key), broken(made, rng, now_ns))
            if rng.random() < 0.2:  # the sender mends it: a refused line has not used up the id
                recent.append(made)
            continue
        if choice < BROKEN + REPEATED and remembered:
            pool = recent if recent and rng.random() < 0.5 else remembered
            made = pool[int(rng.random() * len(pool))]
            yield _repeat(made, rng, now_ns, key, choice < BROKEN + CONFLICTING)
            continue
        made = _new(rng, now_ns, number / events, key)
        if choice > 1 - ELSEWHERE and remembered:
            made = _elsewhere(made, remembered[int(rng.random() * len(remembered))])
        yield Sent(_key(made, rng, key), line(made))
        _remember(made, rng, remembered, recent)


def _new(rng: Random, now_ns: int, at_fraction: float, key: KeyStyle) -> Made:
    made = make(rng, now_ns, at_fraction)
    while key != "id" and all(name != "time" for name, _ in made.attributes):
        made = make(rng, now_ns, at_fraction)
    return made


def _elsewhere(made: Made, other: Made) -> Made:
    """`made` with the id of `other` and a source of its own."""
    source = ("source", other.attributes[2][1][:-1] + '/elsewhere"')
    return Made([made.attributes[0], other.attributes[1], source, *made.attributes[3:]], made.data)


def _remember(made: Made, rng: Random, remembered: list[Made], recent: list[Made]) -> None:
    if len(remembered) < REMEMBERED:
        remembered.append(made)
    elif rng.random() < 0.2:
        remembered[int(rng.random() * REMEMBERED)] = made
    recent.append(made)
    if len(recent) > 400:
        del recent[:380]


def _repeat(made: Made, rng: Random, now_ns: int, key: KeyStyle, conflict: bool) -> Sent:
    if conflict and key == "id":
        made = _conflict(made, rng, now_ns)
    return Sent(_key(made, rng, key), line(made, rng if rng.random() < 0.2 else None))


def _conflict(made: Made, rng: Random, now_ns: int) -> Made:
    """The same source and id with another value, subject or time."""
    choice = rng.random()
    attributes = dict(made.attributes)
    if choice < 0.4 and made.data:
        name, _ = made.data[0]
        return Made(made.attributes, [(name, str(rng.randrange(10**6, 10**9))), *made.data[1:]])
    if choice < 0.9:
        attributes["subject"] = subject(rng)
    else:
        attributes["time"] = f'"{time_text(rng, now_ns - rng.randrange(10**12, 10**13))}"'
    return Made(list(attributes.items()), made.data)


def _key(made: Made, rng: Random, style: KeyStyle) -> bytes | None:
    if style == "id":
        return made.attributes[1][1].encode()
    if style == "subject":
        return made.attributes[4][1].encode()
    return rng.randbytes(8) if style == "random" else None


def write(path: Path, records: Iterator[Sent]) -> int:
    """Writes one line a record; returns how many."""
    with path.open("wb") as out:
        return sum(1 for record in records if out.write(record.line + b"\n"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.flow.stream", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--now", type=float, default=None, help="seconds since 1970; default: now")
    parser.add_argument("--out", type=Path, help="file to write the lines to")
    parser.add_argument("--kafka", help="bootstrap servers to send the lines to, topic `events`")
    parser.add_argument("--key", choices=["id", "subject", "random", "none"], default="id")
    arguments = parser.parse_args()
    now_ns = int(arguments.now * 1e9) if arguments.now else time.time_ns()
    records = stream(arguments.events, arguments.seed, now_ns, arguments.key)
    started = time.monotonic()
    if arguments.kafka:
        from tests.flow.sender import send

        count = send(arguments.kafka, records)
    else:
        count = write(arguments.out or Path("/dev/stdout"), records)
    if arguments.kafka or arguments.out:
        print(f"{count} lines in {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
