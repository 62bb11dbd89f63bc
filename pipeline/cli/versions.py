"""The commands about plans and add-ons, which have versions. They call the API.

Owns: their arguments and tables, and what `apply` does with a plan that exists. Does not own: responses (api), the
rules of versions (core.catalog).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import IO, Any

import click

from pipeline.cli.api import ask, ask_json, pages
from pipeline.cli.input_file import name_of, read_object
from pipeline.cli.output import format_option, listed, print_value
from pipeline.cli.paths import segment
from pipeline.errors import Rejected

STATUSES = ("draft", "scheduled", "active", "archived")
_FIXED = ("key", "currency")  # of an update: they stay


@click.group()
def plans() -> None:
    """Define what customers can subscribe to, and publish it.

    \b
    Example:
      tallymark plans apply pro.json && tallymark plans publish pro
    """


@click.group()
def addons() -> None:
    """Define what customers can buy beside a plan, and publish it.

    \b
    Example:
      tallymark addons apply seats.json && tallymark addons publish seats
    """


def _add_list(group: click.Group, path: str, kind: str, column: str, member: str) -> None:
    """Add `list`. member: of an item, shown in the last but one column."""

    @group.command(
        "list",
        help=f"List versions of {path[1:]}, oldest first.\n\nPROBLEMS counts what keeps one from being published."
        f"\n\n\b\nExample:\n  tallymark {path[1:]} list --status active",
    )
    @click.option("--status", type=click.Choice(STATUSES), help="Only those with this status.")
    @click.option("--key", metavar="KEY", help=f"Only the versions of this {kind}.")
    @format_option("table", "json")
    def list_versions(status: str | None, key: str | None, form: str) -> None:
        asked = [(name, value) for name, value in (("status", status), ("key", key)) if value is not None]
        rows = list(pages(path, asked))
        cells = (
            (row["key"], str(row["version"]), row["status"], row["name"], row["currency"], row[member], row["id"],
             str(len(row["validationErrors"])))
            for row in rows
        )  # fmt: skip
        columns = ("key", "version", "status", "name", "currency", column, "id", "problems")
        listed(rows, form, columns, cells, right=("version", "problems"))


def _add_show(group: click.Group, path: str, kind: str) -> None:
    @group.command(
        "show",
        help=f"Show a version as JSON.\n\nKEY means the newest version, an id that version."
        f"\n\n\b\nExample:\n  tallymark {path[1:]} show pro",
    )
    @click.argument("key")
    def show(key: str) -> None:
        print_value(_newest(path, key))


def _add_apply(group: click.Group, path: str, kind: str) -> None:
    @group.command(
        "apply",
        help=f"Create or replace a draft from FILE.\n\nThe draft of the {kind} is replaced, or created as its next "
        "version. FILE is a JSON object (- for standard input). What keeps the draft from being published is "
        f"printed.\n\n\b\nExample:\n  tallymark {path[1:]} apply new.json",
    )
    @click.argument("file", type=click.File("rb"))
    def apply(file: IO[bytes]) -> None:
        sent = read_object(file)
        key = sent.get("key")
        if not isinstance(key, str) or not key:
            raise Rejected(f"bad-{kind}", f"{name_of(file)}: the key of the {kind} is missing.")
        found = _found(path, key)
        if found is not None and found["status"] in ("draft", "scheduled"):
            body = {name: value for name, value in sent.items() if name not in _FIXED or value != found[name]}
            _print_draft(kind, ask_json("PUT", f"{path}/{segment(found['id'])}", json=body))
        elif found is not None and found["status"] == "active" and _has(found, sent):
            click.echo(f"{key} version {found['version']} is active, and FILE is the same.")
        else:
            _print_draft(kind, ask_json("POST", path, json=sent))


def _add_change(group: click.Group, path: str, kind: str, verb: str, done: str, text: str) -> None:
    @group.command(verb, help=f"{text}\n\n\b\nExample:\n  tallymark {path[1:]} {verb} pro")
    @click.argument("key")
    def change(key: str) -> None:
        try:
            version = ask_json("POST", f"{path}/{segment(key)}/{verb}")
        except Rejected as refusal:
            _print_problems((refusal.facts or {}).get("validationErrors"))
            raise
        click.echo(f"{version['key']} version {version['version']} is {done}.")


def _add_delete(group: click.Group, path: str, kind: str) -> None:
    @group.command(
        "delete",
        help=f"Delete a draft or an archived version.\n\nKEY means the newest version, an id that version."
        f"\n\n\b\nExample:\n  tallymark {path[1:]} delete pro",
    )
    @click.argument("key")
    def delete(key: str) -> None:
        ask("DELETE", f"{path}/{segment(key)}")
        click.echo(f"{key} is deleted.")


def _found(path: str, key: str) -> dict[str, Any] | None:
    """The newest version of a key, if there is one."""
    try:
        return _newest(path, key)
    except Rejected as refusal:
        if refusal.reason == "not-found":
            return None
        raise


def _newest(path: str, key: str) -> dict[str, Any]:
    found: dict[str, Any] = ask_json("GET", f"{path}/{segment(key)}", params=[("includeLatest", "true")])
    return found


def _has(found: Any, sent: Any) -> bool:
    """Whether an answer holds all that was sent; null is the same as absent."""
    if isinstance(sent, Mapping):
        return isinstance(found, Mapping) and all(
            _has(found.get(name), value) for name, value in sent.items()
        )
    if isinstance(sent, list):
        return (
            isinstance(found, list)
            and len(found) == len(sent)
            and all(_has(one, other) for one, other in zip(found, sent, strict=True))
        )
    return bool(found == sent)


def _print_draft(kind: str, version: Mapping[str, Any]) -> None:
    click.echo(f"{version['key']} version {version['version']} is a draft.")
    _print_problems(version["validationErrors"])


def _print_problems(problems: object) -> None:
    for one in problems if isinstance(problems, Iterable) else ():
        if isinstance(one, Mapping) and "code" in one:
            click.echo(f"{one['field']}: {one['message']} ({one['code']})", err=True)


for _group, _path, _kind, _column, _member in (
    (plans, "/plans", "plan", "billed", "billingCadence"),
    (addons, "/addons", "addon", "instances", "instanceType"),
):
    _add_list(_group, _path, _kind, _column, _member)
    _add_show(_group, _path, _kind)
    _add_apply(_group, _path, _kind)
    _add_change(
        _group, _path, _kind, "publish", "active",
        "Publish a draft.\n\nThe active version of KEY ends at the same instant.",
    )  # fmt: skip
    _add_change(
        _group, _path, _kind, "archive", "archived",
        "End an active version.\n\nKEY, or an id: it is sold no longer.",
    )  # fmt: skip
    _add_delete(_group, _path, _kind)
