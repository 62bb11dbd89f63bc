"""Meters, subjects, customers, features, plans, channels and rules, taken over from an OpenMeter.

Owns: for each of them, which of ours is its counterpart, and creating those that have none. Does not own: their bodies
(core.migration.translation), entitlements (migrate_quota).

What exists already is never changed: where it differs, the report names the members.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from pipeline.cli.migrate_report import MigrationReport
from pipeline.cli.migrate_sides import OpenMeter, TargetApi
from pipeline.cli.paths import segment
from pipeline.core.metering.meter import define
from pipeline.core.migration import plan_translation, translation
from pipeline.core.migration.sameness import differences
from pipeline.core.migration.translation import JsonObject, Translation
from pipeline.errors import Rejected

ENABLE = "It is created disabled: `tallymark rules enable {id}` when this Tallymark sends the webhooks."
_ALL = ("includeDisabled", "true")


def meters(source: OpenMeter, target: TargetApi, report: MigrationReport) -> None:
    ours = _by_key(target.pages("/meters"), "slug")
    rows = [row for row in source.pages("/meters") if row.get("deletedAt") is None]
    for row in rows:
        _take(
            target,
            report,
            "meter",
            "/meters",
            translation.meter(row),
            ours,
            check=lambda body: define(body, 0),
        )


def subjects(source: OpenMeter, target: TargetApi, report: MigrationReport) -> None:
    """Subjects that hold anything beyond their key; events need no others."""
    ours = _by_key(target.get("/subjects"), "key")
    for row in source.get("/subjects"):
        found = translation.subject(row)
        if len(found.body) > 1:
            _take(target, report, "subject", "/subjects", found, ours, bodies=lambda body: [body])


def customers(source: OpenMeter, target: TargetApi, report: MigrationReport) -> None:
    ours = {translation.customer_key(row): row for row in target.pages("/customers")}
    for row in source.pages("/customers"):
        if row.get("deletedAt") is None:
            _take(target, report, "customer", "/customers", translation.customer(row), ours)


def customer_ids(source: OpenMeter, target: TargetApi) -> dict[str, str]:
    """Our id of each customer of the source that is here, by its id there."""
    ours = {translation.customer_key(row): str(row["id"]) for row in target.pages("/customers")}
    rows = ((str(row["id"]), translation.customer_key(row)) for row in source.pages("/customers"))
    return {id: ours[key] for id, key in rows if key in ours}


def features(source: OpenMeter, target: TargetApi, report: MigrationReport) -> None:
    ours = _by_key(target.pages("/features"), "key")
    for row in source.pages("/features"):
        if row.get("archivedAt") is None:
            _take(target, report, "feature", "/features", translation.feature(row), ours)


def plans(source: OpenMeter, target: TargetApi, report: MigrationReport) -> None:
    """The active version of each plan, published, and its draft."""
    rows = target.pages("/plans")
    ours = {
        status: _by_key([row for row in rows if row["status"] == status], "key")
        for status in ("active", "draft")
    }
    for versions in plan_translation.versions(source.pages("/plans")):
        for status, row in (("active", versions.active), ("draft", versions.draft)):
            if row is None:
                continue
            found = plan_translation.plan(row)
            if status == "active" and (unpublished := _unpublished(found, ours)) is not None:
                del ours["draft"][found.key]
                report.add("plan", found.key, "exists")
                _publish(target, report, found.key, str(unpublished["id"]))
                continue
            made = _take(target, report, "plan", "/plans", found, ours[status], part=status)
            if made is not None and status == "active":
                _publish(target, report, versions.key, str(made["id"]))
        report.notes("plan", versions.key, versions.left)


def _unpublished(found: Translation, ours: Mapping[str, Mapping[str, JsonObject]]) -> JsonObject | None:
    """Our draft of the version that is sold there: a run that was killed has created it and not published it."""
    draft = ours["draft"].get(found.key)
    if draft is None or found.key in ours["active"] or differences(found.body, draft):
        return None
    return draft


def _publish(target: TargetApi, report: MigrationReport, key: str, id: str) -> None:
    if report.dry_run:
        return
    try:
        target.send("POST", f"/plans/{segment(id)}/publish")
    except Rejected as refusal:
        report.add("plan", key, "refused", f"It is a draft here, and cannot be published: {refusal.detail}")


def channels(source: OpenMeter, target: TargetApi, report: MigrationReport) -> None:
    ours = {_channel(row): row for row in target.pages("/notification/channels", [_ALL])}
    for row in source.pages("/notification/channels", [_ALL]):
        found = translation.channel(row)
        mine = {found.key: ours[_channel(row)]} if _channel(row) in ours else {}
        _take(target, report, "channel", "/notification/channels", found, mine, but={"signingSecret"})


def rules(source: OpenMeter, target: TargetApi, report: MigrationReport) -> None:
    """Rules, disabled. In a dry run, those of channels that are not here yet are taken as possible."""
    mine = {_channel(row): str(row["id"]) for row in target.pages("/notification/channels", [_ALL])}
    listed = source.pages("/notification/channels", [_ALL])
    ids = {str(row["id"]): mine.get(_channel(row), "") for row in listed}
    known = {id: our for id, our in ids.items() if our or report.dry_run}
    ours = {(row["type"], row["name"]): row for row in target.pages("/notification/rules", [_ALL])}
    for row in source.pages("/notification/rules", [_ALL]):
        name = str(row.get("name"))
        try:
            found = translation.rule(row, known)
        except Rejected as refusal:
            report.add("rule", name, "refused", refusal.detail)
            continue
        same = ours.get((row["type"], row["name"]))
        exists = {} if same is None else {found.key: same}
        but = {"disabled", "channels", "features"}
        made = _take(target, report, "rule", "/notification/rules", found, exists, but=but)
        if made is not None and not row.get("disabled"):
            report.notes("rule", name, [ENABLE.format(id=made["id"])])


def _take(
    target: TargetApi,
    report: MigrationReport,
    kind: str,
    path: str,
    found: Translation,
    ours: Mapping[str, JsonObject],
    *,
    but: Collection[str] = (),
    bodies: Callable[[JsonObject], Any] = lambda body: body,
    check: Callable[[JsonObject], object] = lambda body: None,
    part: str = "",
) -> JsonObject | None:
    """Create one object unless it is here.

    Args:
        target: this Tallymark.
        report: gets the outcome.
        kind: of the object.
        path: where it is created.
        found: the object.
        ours: the objects of this kind that are here, by key.
        but: members that are not compared.
        bodies: what is sent for a body.
        check: refuses in a dry run what the API would refuse.
        part: distinguishes it from another object of the source with the same body.

    Returns:
        The created object; None if none was.
    """
    report.notes(kind, found.key, found.notes)
    if found.key in ours:
        other = differences(found.body, ours[found.key], but)
        sentence = f"It exists with another {', '.join(other)}, which stays." if other else ""
        report.add(kind, found.key, "differs" if other else "exists", sentence)
        return None
    try:
        check(found.body)
        made = None if report.dry_run else target.send("POST", path, bodies(found.body), part=part)
    except Rejected as refusal:
        report.add(kind, found.key, "refused", refusal.detail)
        return None
    report.add(kind, found.key, "created")
    return made if isinstance(made, dict) else None


def _by_key(rows: Iterable[JsonObject], member: str) -> dict[str, JsonObject]:
    return {str(row[member]): row for row in rows}


def _channel(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row.get("name")), str(row.get("url"))
