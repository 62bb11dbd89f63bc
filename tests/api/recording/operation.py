"""Health, status, reconciliation and the audit log."""

from __future__ import annotations

from tests.api.recording.world import World

API = "/api/v1"


def operation(world: World) -> None:
    ask = world.recorder.ask
    world.stages()
    ask(f"GET {API}/healthz", "the process answers", f"{API}/healthz", key="")
    ask(f"GET {API}/ready", "it can serve", f"{API}/ready", key="")
    ask(f"GET {API}/ready", "Kafka is away", f"{API}/ready", key="", api=world.without_kafka)
    ask(f"GET {API}/status", "some stages are up", f"{API}/status")
    ask(f"GET {API}/reconcile", "what is stored differs", f"{API}/reconcile?wait_s=0")
    ask(f"GET {API}/reconcile", "a wait that is no number", f"{API}/reconcile?wait_s=zz")
    money, month = f"{API}/reconcile/money", "from=2025-12-01&to=2026-01-01&wait_s=0"
    ask(f"GET {money}", "no customer has a bill", f"{money}?{month}")
    ask(f"GET {money}", "an unknown customer", f"{money}?customer=zz&{month}")
    ask(f"GET {money}", "an instant that is none", f"{money}?from=zz")


def audit(world: World) -> None:
    ask, get = world.recorder.ask, f"GET {API}/audit"
    ask(get, "the newest entry", f"{API}/audit?pageSize=2")
    ask(get, "those that match", f"{API}/audit?kind=customer.update&actor={world.admin_id}&from=2026-01-01")
    ask(get, "what was refused", f"{API}/audit?kind=feature.create&pageSize=1")
    ask(get, "an instant that is none", f"{API}/audit?from=zz")
    ask(get, "a page that is too large", f"{API}/audit?pageSize=10000")
