"""Entitlements and grants, taken over from an OpenMeter.

Owns: which of ours is the counterpart, creating those that have none, voiding grants that were voided there, naming
grants that are here twice. Does not own: which grants make the same balance (core.migration.grant_carry).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from pipeline.cli import migrate_definitions
from pipeline.cli.migrate_report import MigrationReport
from pipeline.cli.migrate_sides import OpenMeter, TargetApi
from pipeline.cli.paths import segment
from pipeline.core.migration import burn_ranks, entitlement_carry, grant_carry
from pipeline.core.migration.entitlement_carry import CarriedEntitlement, has_ended
from pipeline.core.migration.grant_carry import CarriedGrant
from pipeline.core.migration.sameness import differences, json_text
from pipeline.core.migration.translation import JsonObject
from pipeline.core.values import timestamp
from pipeline.core.values import zone as zones
from pipeline.errors import Rejected

# The usage period of ours began with its own cut; what the source calls its anchor may have moved since.
_NOT_COMPARED = frozenset({"usagePeriod", "measureUsageFrom", "activeFrom", "config"})


class _Holder(NamedTuple):
    """Who gets grants.

    Args:
        customer, id: ours; "" where it is not here yet.
        since_s: the start of its usage period.
        ranks: the priority of each of its grants, by the id at the source.
    """

    name: str
    customer: str
    id: str
    since_s: int
    ranks: Mapping[str, int]


class QuotaMigration:
    """Takes entitlements over, each with its grants. now_s: seconds since 1970. from_s: of the events."""

    def __init__(
        self, source: OpenMeter, target: TargetApi, report: MigrationReport, now_s: int, from_s: int
    ) -> None:
        self._source, self._target, self._report = source, target, report
        self._now_s, self._from_s = now_s, from_s
        self._grants: dict[str, list[JsonObject]] = defaultdict(list)
        self._ours: dict[str, list[JsonObject]] = defaultdict(list)

    def run(self) -> None:
        """Take all of them over."""
        customers = migrate_definitions.customer_ids(self._source, self._target)
        ours = [
            row for row in self._target.pages("/entitlements", version=2) if not has_ended(row, self._now_s)
        ]
        for row in self._source.pages("/grants", version=2):
            self._grants[str(row["entitlementId"])].append(row)
        for row in self._target.pages("/grants", version=2):
            self._ours[str(row["entitlementId"])].append(row)
        for row in self._source.pages("/entitlements", version=2):
            self._take(row, customers, ours)

    def _take(self, row: JsonObject, customers: Mapping[str, str], ours: list[JsonObject]) -> None:
        name = f"{row.get('customerKey') or row.get('customerId')}/{row.get('featureKey')}"
        if has_ended(row, self._now_s):
            self._report.add("entitlement", name, "ended")
            return
        try:
            found = entitlement_carry.carried(row, self._now_s)
            customer = customers.get(found.customer, "" if self._report.dry_run else None)
            if customer is None:
                raise Rejected("not-taken-over", "Its customer is not here.")
            same = _counterpart(found, customer, ours, self._now_s)
            ranks = self._ranks(found, same)
            if same is None:
                found = found._replace(body=burn_ranks.issues(found.body, ranks))
                id = self._create(name, found, customer)
            else:
                id = self._compare(name, found, same)
        except Rejected as refusal:
            self._report.add("entitlement", name, "refused", refusal.detail)
            return
        self._report.notes("entitlement", name, found.notes)
        if found.since_s is not None:
            self._take_grants(found, _Holder(name, customer, id, found.since_s, ranks))

    def _ranks(self, found: CarriedEntitlement, same: JsonObject | None) -> dict[str, int]:
        """The priority here of each of its grants. same: ours, if it exists."""
        if found.since_s is None:
            return {}
        here: dict[str, int] = {}
        if same is not None:
            mine, _ = grant_carry.by_mark(self._ours[str(same["id"])])
            for row in self._grants[found.id]:
                here |= {str(row["id"]): int(one["priority"]) for one in grant_carry.counterparts(row, mine)}
            if same.get("issueAfterResetPriority") is not None:
                here[burn_ranks.ISSUED] = int(same["issueAfterResetPriority"])
        return burn_ranks.ranks(found.body, self._grants[found.id], found.since_s, here)

    def _create(self, name: str, found: CarriedEntitlement, customer: str) -> str:
        """Our id of a new entitlement; "" in a dry run."""
        made: Any = {"id": ""}
        if not self._report.dry_run:
            path = f"/customers/{segment(customer)}/entitlements"
            made = self._target.send("POST", path, found.body, version=2)
        self._report.add("entitlement", name, "created")
        if found.since_s is not None and found.since_s < self._from_s:
            since, first = zones.text_of(found.since_s), zones.text_of(self._from_s)
            note = (
                f"Its usage period began at {since}, and events are taken over from {first} on: usage between is not "
                "counted, so more is left than at the source."
            )
            self._report.notes("entitlement", name, [note])
        return str(made["id"])

    def _compare(self, name: str, found: CarriedEntitlement, same: JsonObject) -> str:
        but = set(_NOT_COMPARED)
        if any(row.get("recurrence") for row in self._grants[found.id]):  # its priority may be another
            but.add("issueAfterResetPriority")
        other = differences(found.body, same, but)
        if json_text(found.body.get("config")) != json_text(same.get("config")):
            other.append("config")
        period = found.body.get("usagePeriod")
        if period is not None and differences(
            {"interval": period["interval"]}, same.get("usagePeriod") or {}
        ):
            other.append("usagePeriod.interval")
        sentence = f"It exists with another {', '.join(other)}, which stays." if other else ""
        self._report.add("entitlement", name, "differs" if other else "exists", sentence)
        return str(same["id"])

    def _take_grants(self, found: CarriedEntitlement, holder: _Holder) -> None:
        here, doubles = grant_carry.by_mark(self._ours[holder.id] if holder.id else [])
        self._report_doubles(holder.name, doubles)
        missing = []
        for row in self._grants[found.id]:
            if grant_carry.is_issued(row):
                continue
            made = grant_carry.counterparts(row, here)
            same = self._void_made(f"{holder.name} {row['id']}", row, made)
            if not grant_carry.is_complete(row, holder.since_s, made):
                missing.append(row)
            elif same:
                self._report.add("grant", f"{holder.name} {row['id']}", "exists")
        needed = any(grant_carry.needs_balance(row, holder.since_s) for row in missing)
        left = self._balances(found, holder.since_s) if needed else {}
        for one in burn_ranks.burn_order(missing):
            self._take_grant(one, left.get(str(one["id"])), holder, here)

    def _report_doubles(self, name: str, doubles: list[JsonObject]) -> None:
        for row in doubles:
            sentence = (
                "It is here twice: void one of them from its start with "
                f"`tallymark grants void {row['id']} --at {row['effectiveAt']}`."
            )
            self._report.add("grant", f"{name} {grant_carry.mark_of(row)}", "differs", sentence)

    def _void_made(self, name: str, row: JsonObject, made: list[JsonObject]) -> bool:
        """Void the grants of ours that were made of one that is voided at the source. Returns whether all of them are.

        A run that was killed may have created them and not voided them; the source may have voided its own since.
        """
        at = row.get("voidedAt")
        unvoided = [] if at is None else [str(one["id"]) for one in made if one.get("voidedAt") is None]
        if not unvoided:
            return True
        if self._report.dry_run:
            commands = " and ".join(f"`tallymark grants void {id} --at {at}`" for id in unvoided)
            sentence = (
                f"It is voided at the source. Without --dry-run it is voided here too, as by {commands}."
            )
            self._report.add("grant", name, "differs", sentence)
            return False
        try:
            for id in unvoided:
                self._void(id, str(at))
        except Rejected as refusal:
            sentence = (
                f"It is voided at the source since {at}, and cannot be voided here then: {refusal.detail}"
            )
            self._report.add("grant", name, "differs", sentence)
            return False
        self._report.notes("grant", name, [f"It is voided here at {at}, as at the source."])
        return True

    def _void(self, id: str, at: str) -> None:
        self._target.send("DELETE", f"/grants/{segment(id)}", params=[("at", at)])

    def _take_grant(
        self, row: Mapping[str, Any], left: Decimal | None, holder: _Holder, here: Mapping[str, JsonObject]
    ) -> None:
        name = f"{holder.name} {row['id']}"
        try:
            parts = grant_carry.carried(row, holder.since_s, self._now_s, left)
            rank = holder.ranks.get(str(row["id"]))
            ranked = parts if rank is None else [burn_ranks.with_rank(part, rank) for part in parts]
            new = [part for part in ranked if part.mark not in here]
            for part in new:
                if not self._report.dry_run:
                    self._give(name, part, holder)
        except Rejected as refusal:
            self._report.add("grant", name, "refused", refusal.detail)
            return
        self._report.add("grant", name, "created" if new else "exists" if parts else "ended")
        self._report.notes("grant", name, [part.note for part in new if part.note])

    def _give(self, name: str, part: CarriedGrant, holder: _Holder) -> None:
        path = f"/customers/{segment(holder.customer)}/entitlements/{segment(holder.id)}/grants"
        made = self._target.send("POST", path, part.body, version=2)
        ends = made.get("expiresAt")
        if part.expires_s is not None and (ends is None or timestamp.minute_s(ends) != part.expires_s):
            there = zones.text_of(part.expires_s)
            self._report.notes("grant", name, [f"It ends at {ends}; at the source it ends at {there}."])
        if part.void_at is not None:
            self._void(str(made["id"]), part.void_at)

    def _balances(self, found: CarriedEntitlement, since_s: int) -> dict[str, Decimal]:
        """What was left of each grant when the usage period began, by the source's history."""
        path = f"/customers/{segment(found.customer)}/entitlements/{segment(found.id)}/history"
        params = [("from", zones.text_of(since_s)), ("windowSize", "DAY")]
        spans = self._source.get(path, params, version=2).get("burndownHistory") or []
        if not spans:
            return {}
        return {id: Decimal(left) for id, left in spans[0]["grantBalancesAtStart"].items()}


def _counterpart(
    found: CarriedEntitlement, customer: str, ours: list[JsonObject], now_s: int
) -> JsonObject | None:
    """Ours that is in force, or begins, at the same time."""
    begins = found.body.get("activeFrom")
    begins_s = now_s if begins is None else timestamp.minute_s(begins)
    for row in ours:
        if (row["customerId"], row["featureKey"]) == (customer, found.feature):
            other_s = timestamp.minute_s(row["activeFrom"])
            if other_s == begins_s if begins is not None else other_s <= now_s:
                return row
    return None
