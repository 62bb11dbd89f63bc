"""What a user defines and changes while the stages are replaced, and what must be true of it at the end.

Owns: the requests, the comparison with the recount of the load. Does not own: the load (steady_load), which code runs.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from decimal import Decimal
from typing import Any

from pipeline.local.webhook_receiver import Receiver
from tests.upgrade.record import NEVER, PERIOD, THRESHOLD, deliveries
from tests.upgrade.steady_load import MINUTE_S, SteadyLoad, arrived
from tests.upgrade.story import Story, instant

CUSTOMERS = {
    "acme": range(4),
    "beta": range(4, 8),
    "gamma": range(8, 10),
}  # and the numbers of their subjects
FEATURES = {"acme": "used", "beta": "used", "gamma": "spare"}
ISSUED, GRANTED, OVERRIDDEN = 1_000_000, 50, 2_000_000
EARLY, LATE = (
    (100, 400, 500_000),
    300,
)  # thresholds of usage; LATE: above what is used when the rule is created
METER = {"slug": "used", "eventType": "call", "aggregation": "SUM", "valueProperty": "$.n"}
LATER_METER = {"slug": "calls", "eventType": "call", "aggregation": "COUNT"}
SETTLED_S = 120.0


class RollingStory:
    """The definitions of a running stack. ask: changes when the API is replaced."""

    def __init__(self, story: Story, load: SteadyLoad, receiver: Receiver, secret: str) -> None:
        self.story = story
        self._load, self._receiver, self._secret = load, receiver, secret
        self._thresholds: dict[str, tuple[int, ...]] = {}  # by id of the rule
        self._channel = ""

    def define(self) -> None:
        """Everything that is there before the first stage is replaced."""
        ask = self.story.ask
        ask("POST", "/meters", METER)
        for key in dict.fromkeys(FEATURES.values()):
            ask("POST", "/features", {"key": key, "name": key, "meterSlug": "used"})
        for key, numbers in CUSTOMERS.items():
            subjects = [f"c{number}" for number in numbers]
            ask(
                "POST", "/customers", {"key": key, "name": key, "usageAttribution": {"subjectKeys": subjects}}
            )
            ask("POST", f"/customers/{key}/entitlements", self._entitlement(FEATURES[key], ISSUED))
        channel = {
            "type": "WEBHOOK", "name": "up", "url": self._receiver.url, "signingSecret": self._secret
        }  # fmt: skip
        self._channel = ask("POST", "/notification/channels", channel)["id"]
        self._rule("early", EARLY)

    def add_meter(self) -> None:
        """A meter that counts what was sent before it, too."""
        self.story.ask("POST", "/meters", LATER_METER)

    def change_entitlements(self) -> None:
        """A grant for one customer, an entitlement of another that replaces the one before."""
        ask = self.story.ask
        began = instant(int(time.time()) // MINUTE_S * MINUTE_S)
        grant = {"amount": GRANTED, "priority": 1, "effectiveAt": began, "expiration": NEVER}
        ask("POST", "/customers/acme/entitlements/used/grants", grant)
        body = self._entitlement(FEATURES["gamma"], OVERRIDDEN)
        ask("PUT", f"/customers/gamma/entitlements/{FEATURES['gamma']}/override", body)

    def add_rule(self) -> None:
        """A rule on a threshold that both customers reach later."""
        used = max(self._load.used(CUSTOMERS[key]) for key in ("acme", "beta"))
        self._rule("late", (int(used) + LATE,))

    def is_late_fired(self) -> bool:
        """Whether both customers have used enough for the rule that came late."""
        (threshold,) = list(self._thresholds.values())[-1]
        return all(self._load.used(CUSTOMERS[key]) > threshold for key in ("acme", "beta"))

    def differences(self) -> list[str]:
        """What is not as it has to be, once all is settled, or after SETTLED_S. The load is over."""
        deadline = time.monotonic() + SETTLED_S
        while (found := self._differences()) and time.monotonic() < deadline:
            time.sleep(1)
        return found

    def _differences(self) -> list[str]:
        report = self.story.ask("GET", "/reconcile", wait_s=60)
        (counted,) = report["namespaces"]
        fates = {name: number for name, number in counted["fates"].items() if number}
        wanted = {"counted": self._load.unique, "duplicate": arrived(self.story.servers) - self._load.unique}
        found = [] if fates == wanted else [f"fates are {fates}, not {wanted}"]
        if not (report["ok"] and report["settled"]):
            found.append(f"reconcile does not add up: {report}")
        found += self._usage("used", self._load.values)
        found += self._usage("calls", {cell: Decimal(number) for cell, number in self._load.usage.items()})
        return found + self._balances() + self._alerts()

    def _usage(self, meter: str, wanted: dict[tuple[int, str], Decimal]) -> list[str]:
        answer = self.story.ask("GET", f"/meters/{meter}/query", groupBy=["subject"], windowSize="MINUTE")
        have = {(row["windowStart"], row["subject"]): Decimal(row["value"]) for row in answer["data"]}
        must = {(instant(at_s), subject): value for (at_s, subject), value in wanted.items()}
        wrong = [key for key in have.keys() | must.keys() if have.get(key) != must.get(key)]
        return [f"{meter} {key}: {have.get(key)}, not {must.get(key)}" for key in sorted(wrong)]

    def _balances(self) -> list[str]:
        issued = {"acme": ISSUED + GRANTED, "beta": ISSUED, "gamma": OVERRIDDEN}
        found = []
        for key, numbers in CUSTOMERS.items():
            value, used = self.story.value(key, FEATURES[key]), self._load.used(numbers)
            have, must = (value["usage"], value["balance"]), (used, issued[key] - used)
            found += [] if have == must else [f"usage and balance of {key} are {have}, not {must}"]
        return found

    def _alerts(self) -> list[str]:
        """Each threshold that was reached is fired once for each customer, and each alert is delivered once."""
        fired: Counter[tuple[str, str, str]] = Counter()
        alerts = [one for one in self.story.alerts() if one["type"] == THRESHOLD]
        for one in alerts:
            data = json.loads(one["payload"])["data"]
            names = [one["annotations"]["threshold"], *data["passed"]]
            fired.update((one["rule"], data["customer"]["key"], name) for name in names)
        wanted = Counter(
            (rule, key, f"usage_value:{value}")
            for rule, values in self._thresholds.items()
            for key in ("acme", "beta")
            for value in values
            if self._load.used(CUSTOMERS[key]) >= value
        )
        found = [] if fired == wanted else [f"fired: {dict(fired)}, not {dict(wanted)}"]
        came = Counter(one.id for one in self._receiver.messages)
        due = Counter(one["id"] for one in alerts)
        if came != due or deliveries(self.story, "SENDING"):
            found.append(f"delivered: {dict(came)}, not {dict(due)}")
        return found

    def _rule(self, name: str, values: tuple[int, ...]) -> None:
        body = {
            "type": THRESHOLD, "name": name, "channels": [self._channel], "features": ["used"],
            "thresholds": [{"type": "usage_value", "value": value} for value in values],
        }  # fmt: skip
        self._thresholds[self.story.ask("POST", "/notification/rules", body)["id"]] = values

    def _entitlement(self, feature: str, issued: int) -> dict[str, Any]:
        began = {"anchor": instant((int(time.time()) - 86_400) // MINUTE_S * MINUTE_S), **PERIOD}
        return {
            "type": "metered", "featureKey": feature, "usagePeriod": began, "issueAfterReset": issued,
            "measureUsageFrom": "CURRENT_PERIOD_START",
        }  # fmt: skip
