"""What commands write to `control` and `replies` stays byte for byte what it is.

`python -m tests.core.stored_story` records it again: for a new command or an added member, never for other bytes.
"""

from __future__ import annotations

import pytest

from pipeline.core.control import DECIDERS
from tests.core.stored_story import PATH, decisions, written

CHANGES_NO_DEFINITION = {"endpoint.replay", "rule.test", "event.resend", "delivery.resend", "stripe.retry"}
RECORDED = PATH.read_text("utf-8").splitlines()


@pytest.mark.parametrize(("now", "then"), [*zip(written(), RECORDED, strict=True)])
def test_a_command_writes_the_bytes_that_it_wrote(now: str, then: str) -> None:
    assert now == then


def test_every_command_that_changes_a_definition_is_recorded() -> None:
    assert {kind for kind, _ in decisions()} == set(DECIDERS) - CHANGES_NO_DEFINITION
