"""`tallymark import`: many customers, subjects, entitlements and grants from a file. It calls the API.

Owns: the requests, progress, the report of refused lines. Does not own: batches and what was done (import_file), the
rules (api.quota.imports).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import msgspec

from pipeline.cli.api import ask_json
from pipeline.cli.import_file import ImportBatch, ImportFile
from pipeline.cli.progress import progress_bar
from pipeline.cli.tables import count, print_table
from pipeline.errors import Rejected

REPORT_ENDING = ".refused"


@click.command("import")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def import_items(file: Path) -> None:
    """Import the items of FILE, one JSON object a line.

    A line is {"customer": {...}}, {"subject": {...}}, {"entitlement": {...}} or {"grant": {...}}. The object inside is
    the body of the API's request that creates one; an entitlement names its customer by `customerId` and its feature by
    `featureKey`, a grant by `customerId` and `entitlementId`, each an id or a key. Lines are applied in their order.

    A line that is refused does not stop the others. FILE.refused lists those lines with the reason; the exit code is 1
    then. When the command is repeated after a failure or kill -9, it continues where it was: what has been done is in
    FILE.import. A whole file is not imported twice while FILE.import exists.

    \b
    Example:
      echo '{"customer": {"key": "acme", "name": "ACME"}}' > new.ndjson && tallymark import new.ndjson
    """
    found = ImportFile(file)
    report = file.with_name(file.name + REPORT_ENDING)
    try:
        if not found.progress.is_done:
            _run(found, report)
    except OSError as error:
        raise Rejected("bad-file", f"{error.filename} cannot be written: {error.strerror}.") from error
    done = found.progress
    columns = ("lines", "applied", "refused")
    print_table(columns, [(count(done.lines), count(done.applied), count(done.refused))], right=columns)
    if done.refused:
        click.echo(f"{report} lists the refused lines.", err=True)
        click.get_current_context().exit(1)


def _run(found: ImportFile, report: Path) -> None:
    _cut(report, found.progress.report_bytes)
    with progress_bar("importing") as show:
        show(found.progress.offset, found.size)
        for batch in found.batches():
            _import(found, batch, report)
            show(found.progress.offset, found.size)
    found.done(msgspec.structs.replace(found.progress, is_done=True))


def _import(found: ImportFile, batch: ImportBatch, report: Path) -> None:
    answer: dict[str, Any] = {"applied": 0, "refused": []}
    if batch.items:
        found.begin(batch, time.time())
        answer = ask_json(
            "POST",
            "/imports",
            json=[item for _, item in batch.items],
            headers={"idempotency-key": found.key_of(batch)},
        )
    refused = [{"line": one.line, "reason": "bad-line", "detail": one.detail} for one in batch.bad]
    for one in answer["refused"]:
        line, item = batch.items[one["index"]]
        refused.append({"line": line, "reason": one["reason"], "detail": one["detail"], "item": item})
    report_bytes = _report(report, refused)
    done = found.progress
    found.done(
        msgspec.structs.replace(
            done,
            offset=batch.next_offset,
            lines=batch.next_lines,
            applied=done.applied + answer["applied"],
            refused=done.refused + len(refused),
            report_bytes=report_bytes,
        )
    )


def _cut(report: Path, kept_bytes: int) -> None:
    """Remove what the report has of a batch whose answer was not kept."""
    if report.exists():
        with report.open("r+b") as file:
            file.truncate(kept_bytes)


def _report(report: Path, refused: list[dict[str, Any]]) -> int:
    """Add lines to the report, and return its size in bytes."""
    encode = msgspec.json.Encoder(decimal_format="number").encode
    with report.open("ab") as file:
        file.writelines(encode(one) + b"\n" for one in sorted(refused, key=lambda one: one["line"]))
        return file.tell()


COMMANDS: list[click.Command] = [import_items]
