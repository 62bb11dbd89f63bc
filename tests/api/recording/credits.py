"""Credits of a customer: grants, payments, adjustments, balances, transactions, top-ups; the trial balance."""

from __future__ import annotations

from typing import Any

from tests.api.recording.world import World
from tests.api.scope_table import CREDITS, CUSTOMERS, LEDGER

USED: dict[str, Any] = {"headers": {"idempotency-key": "used for credits"}}
REUSED = "the Idempotency-Key was used for others"
GIVEN = {
    "name": "Welcome", "currency": "EUR", "amount": "50", "filters": {"features": ["gpt_4_tokens"]},
    "expires_after": "P90D", "labels": {"campaign": "spring"}, "key": "welcome",
}  # fmt: skip
PACK = {
    "name": "Pack of 100", "description": "20 % off", "currency": "EUR", "amount": "100", "priority": 20,
    "funding_method": "external", "purchase": {"per_unit_cost_basis": "0.8", "availability_policy": "on_settlement"},
}  # fmt: skip
TOP_UP = {
    "threshold": "0",
    "amount": "20",
    "target": "60",
    "funding_method": "external",
    "expires_after": "P365D",
}


def credits(world: World) -> None:
    """Of the customer `hooli`, who has no bills."""
    ask = world.recorder.ask
    body = {"key": "hooli", "name": "Hooli", "usageAttribution": {"subjectKeys": ["hooli-prod"]}}
    status, _ = world.answer("POST", CUSTOMERS, body, {"idempotency-key": "for credits: customer"})
    assert status == 201
    path = CREDITS.replace("{customerIdOrKey}", "hooli")
    grants = f"{CREDITS}/grants"
    given = ask(f"POST {grants}", "credits that are given", f"{path}/grants", GIVEN, **USED)
    ask(f"POST {grants}", REUSED, f"{path}/grants", PACK, **USED)
    ask(f"POST {grants}", "its key names a grant already", f"{path}/grants", {**GIVEN, "amount": "1"})
    ask(f"POST {grants}", "an unknown member", f"{path}/grants", {**GIVEN, "zz": 1})
    pack = ask(f"POST {grants}", "credits that are paid elsewhere", f"{path}/grants", PACK)
    one, paid = f"{path}/grants/{pack['id']}", f"{grants}/{{grantId}}/settlement/external"
    ask(f"POST {paid}", "the payment is settled", f"{one}/settlement/external", {"status": "settled"})
    ask(f"POST {paid}", "a payment goes back", f"{one}/settlement/external", {"status": "authorized"})
    ask(f"POST {paid}", "an unknown member", f"{one}/settlement/external", {"status": "settled", "zz": 1})
    ask(f"POST {paid}", REUSED, f"{one}/settlement/external", {"status": "settled"}, **USED)
    adjust, sent = f"{CREDITS}/adjustments", {"name": "Correction", "currency": "EUR", "amount": "-30"}
    ask(f"POST {adjust}", "credits are taken", f"{path}/adjustments", sent)
    ask(f"POST {adjust}", "more than there are", f"{path}/adjustments", {**sent, "amount": "-500"})
    ask(f"POST {adjust}", "an unknown member", f"{path}/adjustments", {**sent, "zz": 1})
    ask(f"POST {adjust}", REUSED, f"{path}/adjustments", sent, **USED)
    void = f"{grants}/{{grantId}}/void"
    ask(f"POST {void}", "what is left is taken back", f"{path}/grants/{given['id']}/void", None)
    ask(f"POST {void}", "it is voided already", f"{path}/grants/{given['id']}/void", None)
    ask(f"POST {void}", REUSED, f"{path}/grants/{given['id']}/void", None, **USED)
    ask(f"POST {grants}", "credits for one feature", f"{path}/grants", {**GIVEN, "key": "again"})
    rule = f"{CREDITS}/top-ups/{{currency}}"
    ask(f"PUT {rule}", "credits are added by themselves", f"{path}/top-ups/EUR", TOP_UP)
    ask(f"PUT {rule}", "an unknown member", f"{path}/top-ups/EUR", {**TOP_UP, "zz": 1})
    ask(f"PUT {rule}", REUSED, f"{path}/top-ups/EUR", TOP_UP, **USED)
    ask(f"DELETE {rule}", "no more of them", f"{path}/top-ups/EUR", None)
    ask(f"DELETE {rule}", "there is no rule", f"{path}/top-ups/EUR", None)
    ask(f"DELETE {rule}", REUSED, f"{path}/top-ups/EUR", None, **USED)
    ask(f"GET {grants}", "all of them", f"{path}/grants", None)
    ask(f"GET {grants}", "one of a page", f"{path}/grants?page%5Bsize%5D=1&page%5Bnumber%5D=2", None)
    ask(f"GET {grants}/{{grantId}}", "one", one, None)
    ask(f"GET {grants}/{{grantId}}", "there is none", f"{path}/grants/nothing", None)
    ask(f"GET {CREDITS}/balance", "now", f"{path}/balance", None)
    ask(f"GET {CREDITS}/balance", "at an instant", f"{path}/balance?at=2026-01-01", None)
    ask(f"GET {CREDITS}/transactions", "newest first", f"{path}/transactions", None)
    ask(f"GET {LEDGER}", "all accounts", LEDGER, None)
    ask(f"GET {LEDGER}", "of one customer", f"{LEDGER}?customer=hooli", None)
