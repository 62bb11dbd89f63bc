"""The blocks of a document and the commands in them, in order.

Owns: finding them in the text. Does not own: which of them run (test_readme).
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Literal, NamedTuple

INDENT = "    "
_COMMENT = re.compile(r"\s{2,}# .*$")


class Block(NamedTuple):
    """language: of a fenced block, as written after the fence; shell for an indented one."""

    language: Literal["shell", "python"] | str
    text: str


def blocks(markdown: str) -> Iterator[Block]:
    """Every fenced or indented block; empty lines between indented ones belong to it."""
    lines = iter([*markdown.splitlines(), "."])
    indented: list[str] = []
    for line in lines:
        if line.startswith(INDENT) or (indented and not line):
            indented.append(line.removeprefix(INDENT))
            continue
        if indented:
            yield Block("shell", "\n".join(indented).rstrip())
            indented = []
        if line.startswith("```"):
            fenced = list(iter(lambda: next(lines), "```"))
            yield Block(line.removeprefix("```").strip() or "shell", "\n".join(fenced))


def commands(block: Block) -> Iterator[str]:
    """The commands of a shell block, without comments: as many lines as bash needs, cut at each `&&`.

    Raises ValueError where the end of the block is not the end of a command.
    """
    read: list[str] = []
    for line in block.text.splitlines():
        if not line and not read:
            continue
        read.append(_COMMENT.sub("", line))
        if _is_complete("\n".join(read)):
            yield from "\n".join(read).split(" && ")
            read = []
    if read:
        raise ValueError(f"a command does not end: {read}")


def _is_complete(text: str) -> bool:
    """Whether bash can read the text as whole commands."""
    checked = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    return checked.returncode == 0 and not text.endswith("\\")
