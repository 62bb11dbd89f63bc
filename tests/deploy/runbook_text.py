"""The runbook as a reader finds it: its sections by anchor, and the commands in them."""

from __future__ import annotations

import re
from pathlib import Path

import click

from pipeline.cli.main import main

DEPLOY = Path(__file__).parents[2] / "deploy"
RUNBOOK = DEPLOY / "runbook.md"
_COMMAND = re.compile(r"`(tallymark [^`]+)`|^    (tallymark .+)$", re.MULTILINE)


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def sections(text: str) -> dict[str, str]:
    """Text of each section by its anchor, in order."""
    parts = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {anchor(heading): body for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


def commands(text: str) -> list[str]:
    """The commands of Tallymark in a text, without what a shell makes of them."""
    return [" ".join((one[0] or one[1]).split()) for one in _COMMAND.findall(text)]


def fault_of(line: str) -> str:
    """What is wrong with a command line; empty: it is accepted as far as its arguments go."""
    words = line.split()[1:]
    found: click.Command = main
    context = click.Context(main, **main.context_settings)
    while isinstance(found, click.Group) and words:
        below = found.get_command(context, words[0])
        if below is None:
            return f"there is no command {words[0]} in {found.name}"
        found, words = below, words[1:]
    if isinstance(found, click.Group):
        return f"{found.name} is a group"
    try:
        found.make_parser(context).parse_args(list(words))
        found.make_context(found.name, list(words), parent=context, resilient_parsing=False).close()
    except click.UsageError as error:
        return error.format_message()
    return ""
