"""A request that succeeds for every route that changes something about Stripe, each time about something new.

Owns: the table's part about billing, and a Stripe with many accounts. Does not own: the rest of the table (changes).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from pipeline.core.values.token_bucket import BucketPolicy
from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.local.stripe_sandbox.limits import SandboxLimits
from pipeline.settings import Settings
from tests.api.scope_table import APPS, LISTINGS, MAPPINGS
from tests.local.stripe_sandbox.sandbox_server import ManyAccounts, ServedSandbox
from tests.local.stripe_sandbox.test_meter_events import METER

if TYPE_CHECKING:
    from tests.api.changes import World

INSTALL = f"{LISTINGS}/stripe/install/apikey"


@contextmanager
def stripe_of(settings: Settings) -> Iterator[tuple[Settings, ServedSandbox]]:
    """The settings with a Stripe whose limits no test reaches."""
    most = BucketPolicy(1_000_000, 1_000_000)
    sandbox = StripeSandbox(ManyAccounts(), SandboxClock(), SandboxLimits(most, most, most))
    with ServedSandbox(sandbox) as served:
        more = {
            "secrets_key": SecretStr(base64.b64encode(bytes(32)).decode()), "stripe_address": served.url,
        }  # fmt: skip
        yield settings.model_copy(update=more), served


def app(world: World) -> str:
    """The id of an app of a new account."""
    return str(world.make(INSTALL, app_body(world))["app"]["id"])


def app_body(world: World) -> dict[str, Any]:
    return {"apiKey": f"sk_test_{world.name()}", "name": "S", "webhookSecret": "whsec_1"}


def only_app(world: World) -> str:
    """The id of the only account of Stripe that is connected."""
    listed = world.api.get(f"http://testserver{APPS}?pageSize=1000").json()["items"]
    found = [one for one in listed if one["type"] == "stripe"]
    if len(found) == 1:
        return str(found[0]["id"])
    for one in found:
        assert world.api.delete(f"http://testserver{APPS}/{one['id']}").is_success
    return app(world)


def changed_app(world: World) -> tuple[str, dict[str, Any]]:
    """The path of an app, and another form of it."""
    made = world.make(INSTALL, body := app_body(world))["app"]
    more = {"type": "stripe", "description": "d", "metadata": {"a": "b"}, "secretAPIKey": body["apiKey"]}
    return f"{APPS}/{made['id']}", {"name": "T", "webhookSecret": "whsec_2", **more}


def new_key(world: World) -> tuple[str, dict[str, Any]]:
    """The path of the key of an app, and a key."""
    path, body = changed_app(world)
    return f"{path}/stripe/api-key", {"secretAPIKey": body["secretAPIKey"]}


def customer_data(world: World) -> tuple[str, dict[str, Any]]:
    """The path of a new customer, and its data at Stripe."""
    made = world.stripe.sandbox.account.create_customer({"name": "C"}, 0)
    only_app(world)
    body = {"stripeCustomerId": made.id, "stripeDefaultPaymentMethodId": "pm_1"}
    return f"/api/v1/customers/{world.customer()['key']}", body


def mapping_body(world: World) -> dict[str, Any]:
    name = world.name()
    world.stripe.sandbox.account.create_meter({**METER, "event_name": name}, 0)
    return {
        "appId": only_app(world), "meterSlug": world.meter()["slug"], "eventName": name, "window": "DAY",
        "multiplier": "0.5", "dimensions": {"model": "llm"}, "customerKey": "stripe_customer_id", "valueKey": "value",
        "from": "2100-01-01T00:00:00Z", "metadata": {"a": "b"},
    }  # fmt: skip


def changed_mapping(world: World) -> tuple[str, dict[str, Any]]:
    """The path of a mapping, and another form of it."""
    body = mapping_body(world)
    return f"{MAPPINGS}/{world.make(MAPPINGS, body)['id']}", {**body, "multiplier": "0.25"}


def data_in_app(world: World) -> str:
    """The path of a customer's data in an app."""
    path, body = customer_data(world)
    return f"{path}/apps/{world.make(f'{path}/stripe', body, 'PUT')['id']}"
