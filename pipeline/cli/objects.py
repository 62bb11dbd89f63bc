"""Commands that customers, subjects and features share: show, create and delete, by a path of the API.

Owns: these commands. Does not own: lists, whose columns differ (customers, catalog).
"""

from __future__ import annotations

from typing import IO

import click

from pipeline.cli.api import ask, ask_json
from pipeline.cli.input_file import read_object
from pipeline.cli.output import print_value
from pipeline.cli.paths import segment

FILE_HELP = "FILE is a JSON object (- for standard input)."


def add_show(group: click.Group, path: str) -> None:
    """Add `show ID`, which prints one as JSON."""

    @group.command(
        "show", help=_help(f"Show one of the {path[1:]}, by id or key, as JSON.", f"{path[1:]} show acme")
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
