"""The table of symptoms in deploy/README.md: the first command of each row is one that `tallymark` takes."""

from __future__ import annotations

import re

import pytest

from tests.deploy import runbook_text
from tests.deploy.runbook_text import DEPLOY

TABLE = runbook_text.sections((DEPLOY / "README.md").read_text())["symptoms"]
ROWS: list[tuple[str, str]] = re.findall(r"^\| ([^|`]+) \| `(tallymark [^`]+)` \|", TABLE, re.MULTILINE)


def test_each_row_has_a_symptom_and_a_command() -> None:
    lines = [line for line in TABLE.splitlines() if line.startswith("| ")]
    assert len(ROWS) == len(lines) - 1 >= 20  # without the head
    assert len(dict(ROWS)) == len(ROWS)


@pytest.mark.parametrize(("symptom", "command"), ROWS)
def test_the_first_command_is_accepted(symptom: str, command: str) -> None:
    assert runbook_text.fault_of(command) == "", symptom
