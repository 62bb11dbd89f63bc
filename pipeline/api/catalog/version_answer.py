"""What the routes of plans, add-ons and add-ons of plans share: the catalog of a request, and the form of answers.

Owns: which amounts are JSON numbers (OpenMeter's `issueAfterReset` and percentages; all others are strings), finding
the version that a path names. Does not own: the members (core.catalog.version_json), lists (version_list).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from fastapi import Request, Response

from pipeline.api.http.auth import namespace_of
from pipeline.api.http.json_response import answer
from pipeline.api.http.submit import body_of, definitions, submit
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.catalog_version import CatalogVersion
from pipeline.core.values.json_number import plain
from pipeline.errors import Rejected

T = TypeVar("T")
V = TypeVar("V", bound=CatalogVersion)
LABELS: Mapping[str, str] = {"plan": "plan", "addon": "add-on"}  # in sentences
VersionJson = dict[str, Any]


def look_up(request: Request, question: Callable[[CatalogNow], T]) -> T:
    """The answer to a question about the catalog of the request's namespace, now. Raises Unavailable."""
    namespace, at_ms = namespace_of(request), time.time_ns() // 1_000_000
    return definitions(request).look_up(lambda index: question(CatalogNow(index, namespace, at_ms)))


def changed(request: Request, command: str, asked: Mapping[str, object], status: int = 200) -> Response:
    """The answer to a command: the version or the assignment as it is then."""
    return answer(with_numbers(body_of(submit(request, command, asked))), status)


def found_version(catalog: CatalogNow, kind: type[V], wanted: str, newest: bool) -> V:
    """The version with an id, deleted or not, else the active or the newest one of a key.

    Raises:
        Rejected: `not-found`.
    """
    found = catalog.named(kind, wanted, "newest" if newest else "active")
    if found is None:
        label = f"{'' if newest else 'active '}{LABELS[kind.kind]}"
        hint = "" if newest else "; with includeLatest=true a key means its newest version, active or not"
        raise Rejected("not-found", f"There is no {label} {wanted[:256]}{hint}.")
    return found


def stored_members(request: Request, kind: type[CatalogVersion], wanted: str) -> Mapping[str, object] | None:
    """What a path names as commands find it: by id, or the newest version of a key."""
    found = look_up(request, lambda catalog: catalog.named(kind, wanted))
    return None if found is None else found.members


def with_numbers(members: Mapping[str, Any]) -> VersionJson:
    """A plan, an add-on or an add-on of a plan, as it is answered."""
    shown = dict(members)
    if "rateCards" in shown:
        shown["rateCards"] = _cards(shown["rateCards"])
    if "phases" in shown:
        shown["phases"] = [{**phase, "rateCards": _cards(phase["rateCards"])} for phase in shown["phases"]]
    if "addon" in shown:
        shown["addon"] = with_numbers(shown["addon"])
    return shown


def _cards(cards: Iterable[Mapping[str, Any]]) -> list[VersionJson]:
    return [_card(card) for card in cards]


def _card(card: Mapping[str, Any]) -> VersionJson:
    shown = dict(card)
    template = shown.get("entitlementTemplate") or {}
    if "issueAfterReset" in template:
        shown["entitlementTemplate"] = {**template, "issueAfterReset": plain(template["issueAfterReset"])}
    discounts = shown.get("discounts") or {}
    if "percentage" in discounts:
        share = plain(discounts["percentage"]["percentage"])
        shown["discounts"] = {**discounts, "percentage": {"percentage": share}}
    return shown
