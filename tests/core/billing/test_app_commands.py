"""core.billing.app_commands: which apps are installed, which key replaces another, what an end ends."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.core.billing.app import App
from tests.core.billing.stripe_log import FACTS, FOUND, SEALED, connected, install, mapping
from tests.fixtures.control_log import AT_MS, Log

LIVE = {**FACTS, "livemode": True, "maskedApiKey": "sk_live_***abc"}


def test_an_installed_app_is_shown_without_its_key() -> None:
    log = Log()
    reply = log.do("app.install", {"apiKey": SEALED, "webhookSecret": SEALED + "W", "checked": FACTS})
    shown = ("type", "name", "status", "stripeAccountId", "livemode", "maskedAPIKey")
    assert {name: reply[name] for name in shown} == {
        "type": "stripe", "name": "Stripe", "status": "ready", "stripeAccountId": "acct_1", "livemode": False,
        "maskedAPIKey": "sk_test_***abc",
    }  # fmt: skip
    assert reply["listing"]["type"] == "stripe"
    stored = log.body("app", reply["id"])
    assert (stored["sealedApiKey"], stored["sealedWebhookSecret"]) == (SEALED, SEALED + "W")


def test_no_reply_and_no_audit_record_holds_a_secret() -> None:
    log, app = connected()
    log.do(
        "app.update",
        {"id": app, "name": "S", "secretAPIKey": SEALED, "webhookSecret": SEALED, "checked": FACTS},
    )
    log.do("app.rotate", {"id": app, "secretAPIKey": SEALED + "B", "checked": FACTS})
    log.do("app.uninstall", {"id": app})
    text = msgspec.json.encode([log.replies, log.audit]).decode()
    assert SEALED not in text and "maskedAPIKey" in text
    assert SEALED not in repr(App.of(log.state[f"default/app/{app}"]))


def test_an_account_has_one_app_of_a_namespace() -> None:
    log, app = connected()
    reason, detail = log.refused("app.install", {"apiKey": SEALED, "checked": FACTS})
    assert reason == "app-conflict"
    assert detail == (
        f"the Stripe account acct_1 is connected already, by the app {app}: update that app's key instead"
    )
    assert install(log, "acct_2") != app
    log.do("app.install", {"apiKey": SEALED, "checked": FACTS}, namespace="other")
    log.do("app.uninstall", {"id": app})
    assert install(log) != app


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"checked": FACTS}, "app apiKey is required"),
        (
            {"apiKey": "sk_test_abc", "checked": FACTS},
            "app apiKey is stored only encrypted: set secrets_key, then send it again",
        ),
        ({"apiKey": SEALED}, "app checked stripeAccountId is required"),
        ({"apiKey": SEALED, "checked": {**FACTS, "livemode": None}}, "app checked livemode is required"),
    ],
)
def test_what_cannot_be_installed_is_refused(body: dict[str, Any], detail: str) -> None:
    assert Log().refused("app.install", body) == ("bad-app", detail)


@pytest.mark.parametrize("kind", ["app.update", "app.rotate"])
@pytest.mark.parametrize(
    ("facts", "detail"),
    [
        (LIVE, "app secretAPIKey is a live key, and the app has a test key: uninstall the app and connect the account "
               "with its live key"),
        ({**FACTS, "stripeAccountId": "acct_2"}, "app secretAPIKey is of the Stripe account acct_2, and the app has "
         "the account acct_1: connect another account as another app"),
    ],
)  # fmt: skip
def test_a_key_of_another_account_or_mode_is_refused(kind: str, facts: dict[str, Any], detail: str) -> None:
    log, app = connected()
    more = {"name": "S"} if kind == "app.update" else {}
    assert log.refused(kind, {"id": app, "secretAPIKey": SEALED, "checked": facts, **more}) == (
        "bad-app",
        detail,
    )


def test_an_update_replaces_what_is_shown_and_keeps_the_key() -> None:
    log, app = connected()
    log.do("app.update", {"id": app, "name": "A", "description": "d", "metadata": {"a": "b"}})
    shown = log.do("app.update", {"id": app, "name": "B"})
    assert shown["name"] == "B" and "description" not in shown and "metadata" not in shown
    assert log.body("app", app)["sealedApiKey"] == SEALED
    revision = log.revision
    assert log.do("app.update", {**shown}) == shown and log.revision == revision  # as it was read
    assert log.refused("app.update", {**shown, "type": "sandbox"})[1].startswith("app type must be stripe")


def test_a_refused_key_stops_the_app_until_another_or_the_same_one_is_sent() -> None:
    log, app = connected()
    used = log.revision
    stopped = log.do("app.unauthorized", {"id": app, "reason": "Invalid API Key", "revision": used})
    assert (stopped["status"], stopped["statusReason"]) == ("unauthorized", "Invalid API Key")
    again = log.do("app.rotate", {"id": app, "secretAPIKey": SEALED, "checked": FACTS})
    assert again["status"] == "ready" and "statusReason" not in again
    late = log.do("app.unauthorized", {"id": app, "reason": "Invalid API Key", "revision": used})
    assert late["status"] == "ready"  # that key was replaced meanwhile


def test_uninstalling_ends_the_mappings_and_drops_the_secrets() -> None:
    log, app = connected()
    first = log.do("stripe-meter.create", mapping(app))["id"]
    log.do("stripe-meter.delete", {"id": first})
    second = log.do("stripe-meter.create", mapping(app, eventName="other"))["id"]
    other = install(log, "acct_2")
    kept = log.do("stripe-meter.create", mapping(other))["id"]
    log.run(log.command("app.uninstall", {"id": app}), AT_MS + 5)
    assert log.body("app", app)["sealedApiKey"] == "" and "deletedAt" in log.body("app", app)
    ends = {id: log.body("stripe-meter", id).get("deletedAt") for id in (first, second, kept)}
    assert ends == {first: "2026-01-01T00:00:00.000Z", second: "2026-01-01T00:00:00.005Z", kept: None}
    assert log.refused("app.uninstall", {"id": app})[0] == "not-found"
    assert FOUND["active"]
