"""Commands that several groups share: show, create, update, enable, disable and delete, by a path of the API.

Owns: these commands. Does not own: lists, whose columns differ (customers, catalog, notifications).
"""

from __future__ import annotations

from typing import IO

import click

from pipeline.cli.api import ask, ask_json
from pipeline.cli.input_file import read_object
from pipeline.cli.output import print_value
from pipeline.cli.paths import segment

FILE_HELP = "FILE is a JSON object (- for standard input)."
A_KEY, AN_ID = "acme", "01J8Z3V9T2M4K6P8R0S2V4X6Z8"  # of examples
_NAMED = ("channels", "features")  # members of a rule: shown as objects, sent as ids


def add_show(group: click.Group, path: str, example: str = A_KEY) -> None:
    """Add `show ID`, which prints one as JSON."""
    by = "id" if example == AN_ID else "id or key"

    @group.command(
        "show", help=_help(f"Show one of the {group.name}, by {by}, as JSON.", f"{group.name} show {example}")
    )
    @click.argument("id")
    def show(id: str) -> None:
        print_value(ask_json("GET", f"{path}/{segment(id)}"))


def add_create(group: click.Group, path: str) -> None:
    """Add `create FILE`, which prints the created one."""

    @group.command(
        "create",
        help=_help(f"Create one of the {path[1:]} from FILE.\n\n{FILE_HELP}", f"{path[1:]} create new.json"),
    )
    @click.argument("file", type=click.File("rb"))
    def create(file: IO[bytes]) -> None:
        print_value(ask_json("POST", path, json=read_object(file)))


def add_update(group: click.Group, path: str) -> None:
    """Add `update ID FILE`, which replaces one and prints it."""
    text = f"Replace one of the {group.name} by FILE.\n\n{FILE_HELP} It has all members, as for create."

    @group.command("update", help=_help(text, f"{group.name} update {AN_ID} new.json"))
    @click.argument("id")
    @click.argument("file", type=click.File("rb"))
    def update(id: str, file: IO[bytes]) -> None:
        print_value(ask_json("PUT", f"{path}/{segment(id)}", json=read_object(file)))


def add_switch(group: click.Group, path: str) -> None:
    """Add `enable ID` and `disable ID`; the other members stay."""
    for verb, disabled in (("enable", False), ("disable", True)):
        _add_switch(group, path, verb, disabled)


def _add_switch(group: click.Group, path: str, verb: str, disabled: bool) -> None:
    text = f"{verb.capitalize()} one of the {group.name}; its other members stay."

    @group.command(verb, help=_help(text, f"{group.name} {verb} {AN_ID}"))
    @click.argument("id")
    def switch(id: str) -> None:
        one = ask_json("GET", f"{path}/{segment(id)}")
        named = {name: [row["id"] for row in one[name]] for name in _NAMED if name in one}
        ask("PUT", f"{path}/{segment(id)}", json={**one, **named, "disabled": disabled})
        click.echo(f"{id} is {verb}d.")


def add_delete(group: click.Group, path: str, verb: str = "delete") -> None:
    """Add the command that deletes one. verb: its name, whose past participle ends with `d`."""

    @group.command(
        verb,
        help=_help(f"{verb.capitalize()} one of the {path[1:]}, by id or key.", f"{path[1:]} {verb} acme"),
    )
    @click.argument("id")
    def delete(id: str) -> None:
        ask("DELETE", f"{path}/{segment(id)}")
        click.echo(f"{id} is {verb}d.")


def _help(text: str, example: str) -> str:
    return f"{text}\n\n\b\nExample:\n  tallymark {example}"
