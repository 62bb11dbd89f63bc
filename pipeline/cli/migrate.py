"""`tallymark migrate`: takes everything over from another metering system.

Owns: the arguments, the order of the steps, the exit code. Does not own: the steps (migrate_definitions, migrate_quota,
migrate_events, migrate_compare), the report (migrate_report).

Events come before entitlements: a new entitlement loads the usage of its period that is stored, however old it is,
while usage that arrives later than 35 days after its minute does not change a balance any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.api import load_settings
from pipeline.cli.output import format_option
from pipeline.errors import Rejected

if TYPE_CHECKING:
    from pipeline.cli.migrate_report import MigrationReport
    from pipeline.cli.migrate_sides import OpenMeter, TargetApi

STEPS = (
    "meters", "features", "customers", "subjects", "plans", "events", "entitlements", "channels", "rules", "compare",
)  # fmt: skip
DEFINITIONS = ("meters", "features", "subjects", "customers", "plans")
NOTIFICATIONS = ("channels", "rules")
MARGIN_S = 3600  # the oldest events are still young enough when they are sent


@click.group()
def migrate() -> None:
    """Take everything over from another system.

    \b
    Example:
      tallymark migrate openmeter https://openmeter.cloud --key-file openmeter.key --dry-run
    """


@migrate.command("openmeter")
@click.argument("url")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="File with the API key of the OpenMeter at URL.  [default: none is sent]",
)
@click.option(
    "--from",
    "from_",
    metavar="TIME",
    help="Events from then on: RFC 3339, or a date in UTC.  [default: as old as horizon_s allows]",
)
@click.option("--to", metavar="TIME", help="Events before then.  [default: now]")
@click.option("--only", multiple=True, type=click.Choice(STEPS), help="Only this step; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
@click.option(
    "--position",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that remembers which events were sent, so that a repeat continues there.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 86_400),
    default=30.0,
    show_default=True,
    help="Seconds that differences of the comparison may stay as they are.",
)
@format_option("table", "json")
def migrate_openmeter(
    url: str,
    *,
    key_file: Path | None,
    from_: str | None,
    to: str | None,
    only: tuple[str, ...],
    dry_run: bool,
    position: Path | None,
    wait_s: float,
    form: str,
) -> None:
    """Copy an OpenMeter, or another Tallymark, to here.

    Meters, features, customers, subjects, plans, stored events, entitlements with their grants, channels and rules are
    read over its API and created over the API of this Tallymark; then usage and balances of both are compared. The
    command may be repeated, also after it was killed: nothing is created or counted twice, and what exists here is
    never changed. deploy/migration.md describes a whole migration. Exit code 1 when something was refused or differs.

    \b
    Example:
      tallymark migrate openmeter https://openmeter.cloud --key-file openmeter.key --from 2026-01-01
      tallymark migrate openmeter http://127.0.0.1:48888 --dry-run
      tallymark migrate openmeter http://127.0.0.1:48888 --only compare
    """
    from pipeline.cli.migrate_report import MigrationReport
    from pipeline.cli.migrate_sides import OpenMeter, TargetApi, read_key

    report = MigrationReport(dry_run)
    source = OpenMeter(url, read_key(key_file))
    run = _Run(source, TargetApi(load_settings(), source.url), report, from_, to, wait_s)
    wanted = [step for step in STEPS if step in (only or STEPS)]
    try:
        run.definitions(wanted)
        if "events" in wanted:
            run.events(position)
        if "entitlements" in wanted:
            run.entitlements()
        run.notifications(wanted)
        if "compare" in wanted and not dry_run:
            run.compare()
    finally:
        report.show(form)
    if report.failed:
        raise click.exceptions.Exit(1)


class _Run:
    """The steps of one run, and the range of its events."""

    def __init__(
        self,
        source: OpenMeter,
        target: TargetApi,
        report: MigrationReport,
        from_: str | None,
        to: str | None,
        wait_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source, self._target, self._report, self._wait_s = source, target, report, wait_s
        self._clock = clock
        self._now_s = int(clock())  # events take hours: the steps after them ask the clock again
        self._horizon_s = target.settings.horizon_s
        oldest_s = self._now_s - self._horizon_s + MARGIN_S
        self._given = from_ is not None
        self.from_s = _minute_s("--from", from_, min(oldest_s, self._now_s))
        self.to_s = _minute_s("--to", to, self._now_s)
        if self.from_s >= self.to_s:
            raise Rejected("bad-request", "--from must be before --to.")

    def definitions(self, wanted: list[str]) -> None:
        self._steps(wanted, DEFINITIONS)

    def notifications(self, wanted: list[str]) -> None:
        self._steps(wanted, NOTIFICATIONS)

    def _steps(self, wanted: list[str], names: tuple[str, ...]) -> None:
        from pipeline.cli import migrate_definitions

        for step in names:
            if step in wanted:
                getattr(migrate_definitions, step)(self._source, self._target, self._report)

    def events(self, position: Path | None) -> None:
        from pipeline.cli.migrate_events import EventMigration, PositionFile

        if not self._given:
            self._note_earlier_usage()
        work = EventMigration(self._source, self._target, self._report, self._horizon_s, self._now_s)
        place = PositionFile(position, self._source.url, self.from_s)
        with _bar(self.to_s - self.from_s) as bar:
            work.run(
                self.from_s,
                self.to_s,
                place,
                lambda done_s, sent: bar.update(done_s - bar.pos, current_item=sent),
            )

    def _note_earlier_usage(self) -> None:
        """Name each meter with usage of before the range, which the default leaves out."""
        from pipeline.cli.migrate_events import RAISE_HORIZON, first_usage_s
        from pipeline.core.values import zone as zones

        for row in self._source.pages("/meters"):
            first_s = first_usage_s(self._source, str(row["slug"]))
            if first_s is not None and first_s < self.from_s // 60 * 60:
                since, start = zones.text_of(first_s), zones.text_of(self.from_s)
                detail = RAISE_HORIZON.format(detail=f"{self._horizon_s} s by the settings of this command")
                self._report.add(
                    "events", f"of {row['slug']}", "refused",
                    f"There is usage since {since}, and events before {start} are not read. {detail} Name the start "
                    "with --from.",
                    0,
                )  # fmt: skip

    def entitlements(self) -> None:
        from pipeline.cli.migrate_quota import QuotaMigration

        now_s = int(self._clock())
        QuotaMigration(self._source, self._target, self._report, now_s, self.from_s).run()

    def compare(self) -> None:
        from pipeline.cli import migrate_compare

        span = (self.from_s, self.to_s)
        migrate_compare.usage(self._source, self._target, self._report, span, self._wait_s)
        now_s = int(self._clock())
        migrate_compare.balances(self._source, self._target, self._report, now_s, self._wait_s)


def _bar(length: int) -> Any:
    def sent(number: int | None) -> str:
        return "" if number is None else f"{number:,} sent"

    return click.progressbar(
        length=length, label="events", item_show_func=sent, file=click.get_text_stream("stderr")
    )


def _minute_s(name: str, text: str | None, otherwise_s: int) -> int:
    """The start of the minute of an instant that a user named, in seconds since 1970."""
    from pipeline.core.values.user_time import instant_ns

    at_ns = instant_ns(name, text)
    at_s = otherwise_s if at_ns is None else at_ns // 1_000_000_000
    return at_s // 60 * 60


COMMANDS: list[click.Command] = [migrate]
