"""The calls of `@openmeter/sdk` about subscriptions, against a served API, a real broker and the tables of billing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.api.app import create_app
from pipeline.settings import Settings
from tests.fixtures.api_server import served_app
from tests.fixtures.bill_desk import BillDesk
from tests.foreign.rig import run_js_subscriptions

pytestmark = pytest.mark.usefixtures("decider")


@pytest.fixture(scope="module")
def url(served: Settings) -> Iterator[str]:
    with BillDesk(served), served_app(create_app(served)) as address:
        yield address


def test_every_call_about_subscriptions_works(url: str, js_client: Path) -> None:
    calls = run_js_subscriptions(js_client, url, "")
    assert [one for one in calls if one.outcome != "works"] == []
    assert len({one.call for one in calls if one.listed}) == 13
