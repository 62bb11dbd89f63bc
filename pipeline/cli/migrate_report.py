"""What a migration did: one outcome for each object, and the report that it prints.

Owns: the outcomes, the table, the sentences, the exit code. Does not own: the steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

import click

from pipeline.cli.output import print_value
from pipeline.cli.tables import count, print_table
from pipeline.core.migration.comparison import Compared

OutcomeState = Literal["created", "exists", "differs", "refused", "ended", "note"]
STATES: tuple[OutcomeState, ...] = ("created", "exists", "differs", "refused", "ended")
EVENTS = "events"  # the kind of outcomes about them, which the table leaves out
FAILED = ("differs", "refused")


class ObjectOutcome(NamedTuple):
    """What was done with one object, and why. number: of events; 1 for an object."""

    kind: str
    key: str
    state: OutcomeState
    sentence: str = ""
    number: int = 1


class MigrationReport:
    """The outcomes so far. dry_run: nothing is changed, so `created` means that it would be."""

    def __init__(self, dry_run: bool) -> None:
        self.dry_run = dry_run
        self.outcomes: list[ObjectOutcome] = []
        self.compared: list[Compared] = []
        self.events: int | None = None  # that were sent, or would be; None if that is no step of the run

    def add(self, kind: str, key: str, state: OutcomeState, sentence: str = "", number: int = 1) -> None:
        self.outcomes.append(ObjectOutcome(kind, key, state, sentence, number))

    def notes(self, kind: str, key: str, sentences: Iterable[str]) -> None:
        """Sentences on what was left out of an object, or is otherwise here."""
        for sentence in sentences:
            self.add(kind, key, "note", sentence)

    @property
    def failed(self) -> bool:
        """Whether something was refused, or is otherwise on both sides."""
        states = any(one.state in FAILED for one in self.outcomes)
        return states or any(one.verdict == "different" for one in self.compared)

    def show(self, form: str) -> None:
        """Print the report: as JSON, or as tables followed by a sentence for each thing that needs attention."""
        if form == "json":
            print_value({
                "dryRun": self.dry_run,
                "events": self.events,
                "outcomes": [one._asdict() for one in self.outcomes],
                "compared": [{**one._asdict(), "verdict": one.verdict} for one in self.compared],
            })  # fmt: skip
            return
        self._show_counts()
        for one in self.outcomes:
            if one.sentence:
                named = " ".join(part for part in (one.kind, one.key) if part)
                click.echo(f"{one.state}: {named}: {one.sentence}")
        self._show_compared()

    def _show_counts(self) -> None:
        numbers: Counter[tuple[str, str]] = Counter()
        for one in self.outcomes:
            numbers[one.kind, one.state] += one.number
        shown = (one.kind for one in self.outcomes if one.state != "note" and one.kind != EVENTS)
        kinds = list(dict.fromkeys(shown))
        columns = ("kind", "to create" if self.dry_run else "created", *STATES[1:])
        rows = [(kind, *(count(numbers[kind, state]) for state in STATES)) for kind in kinds]
        if rows:
            print_table(columns, rows, right=columns[1:])
        if self.events is not None:
            sent = "to send" if self.dry_run else "sent; those that were here already count once"
            click.echo(f"events: {count(self.events)} {sent}.")

    def _show_compared(self) -> None:
        if not self.compared:
            return
        names = list(dict.fromkeys(one.name for one in self.compared))
        verdicts: Counter[tuple[str, str]] = Counter((one.name, one.verdict) for one in self.compared)
        columns = ("compared", "same", "rounding", "different")
        rows = [(name, *(count(verdicts[name, verdict]) for verdict in columns[1:])) for name in names]
        print_table(columns, rows, right=columns[1:])
        for one in self.compared:
            if one.verdict == "different":
                theirs, ours = (
                    "nothing" if value is None else f"{value:f}" for value in (one.theirs, one.ours)
                )
                click.echo(f"different: {one.name} {one.window}: {theirs} at the source, {ours} here")
