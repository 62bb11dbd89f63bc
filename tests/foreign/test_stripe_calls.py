"""The calls of `@openmeter/sdk` about Stripe apps, against a served API, a real broker and the sandbox of Stripe."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline.api.app import create_app
from pipeline.settings import Settings
from tests.fixtures.api_server import served_app
from tests.foreign.rig import run_js_stripe, stripe_sandbox

pytestmark = pytest.mark.usefixtures("decider")


@pytest.fixture(scope="module")
def url(served: Settings) -> Iterator[str]:
    key = SecretStr(base64.b64encode(bytes(32)).decode())
    with stripe_sandbox() as address:
        settings = served.model_copy(update={"secrets_key": key, "stripe_address": address})
        with served_app(create_app(settings)) as served_url:
            yield served_url


def test_every_call_about_stripe_apps_works(url: str, js_client: Path) -> None:
    calls = run_js_stripe(js_client, url, "")
    assert [one for one in calls if one.outcome != "works"] == []
    assert len({one.call for one in calls if one.listed}) == 17
