"""Edits of subscriptions that clients send.

Owns: which members each `op` has, and that a rate card that is added is as one of a published plan. Does not own: what
an edit does (edit).
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` SubscriptionEdit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, get_args

from pipeline.core.catalog.catalog_issue import CatalogIssue, refuse_all
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.rate_card_reading import MOST_DESCRIPTION, MOST_KEY, MOST_NAME, read_rate_card
from pipeline.core.catalog.rate_card_validation import rate_card_issues
from pipeline.core.definitions.body import BodyReader
from pipeline.core.subscriptions.customization import (
    AddedPhase,
    AddItem,
    AddPhase,
    Customization,
    PhaseShift,
    RemoveItem,
    RemovePhase,
    StretchPhase,
    UnscheduleEdit,
)
from pipeline.core.subscriptions.edit import MOST_CUSTOMIZATIONS
from pipeline.core.subscriptions.timing import NamedTiming
from pipeline.core.subscriptions.timing_reading import MOST_TIMING, read_named_timing

EDIT: Final = "subscription-edit"


class AskedEdit(NamedTuple):
    """An edit as a client sent it."""

    customizations: tuple[Customization, ...]
    timing: NamedTiming


class _SentOp(NamedTuple):
    """One customization as it was sent, and its place in the body."""

    body: Mapping[str, object]
    place: str
    catalog: CatalogNow

    def reader(self, *members: str) -> BodyReader:
        return BodyReader(EDIT, self.body, ("op", *members), inside=self.place)


def read_edit(body: Mapping[str, object], catalog: CatalogNow) -> AskedEdit:
    """An edit. Raises Rejected `bad-subscription-edit`."""
    sent = BodyReader(EDIT, body, ("customizations", "timing"))
    bodies = sent.objects("customizations", 1, MOST_CUSTOMIZATIONS)
    if bodies is None:
        sent.refuse("subscription-edit customizations is required")
    places = ((f"customizations[{place}]", one) for place, one in enumerate(bodies))
    read = tuple(_customization(_SentOp(one, place, catalog)) for place, one in places)
    return AskedEdit(read, read_named_timing(sent) or "immediate")


def _customization(sent: _SentOp) -> Customization:
    op = BodyReader(EDIT, {"op": sent.body.get("op")}, ("op",), inside=sent.place).one_of("op", list(_OPS))
    if op is None:
        sent.reader(*sent.body).refuse(f"{EDIT} {sent.place} op is required")
    return _OPS[op](sent)


def _add_item(sent: _SentOp) -> AddItem:
    parts = sent.reader("phaseKey", "rateCard")
    body, place = parts.nested("rateCard"), f"{sent.place}.rateCard"
    if body is None:
        parts.refuse(f"{parts.kind} rateCard is required")
    card = read_rate_card(EDIT, body, place, sent.catalog)
    found = [
        CatalogIssue(one.field.replace("$.ratecards[0]", f"$.{place}", 1), one.code, one.message)
        for one in rate_card_issues([card], sent.catalog)
    ]
    if found:
        refuse_all(EDIT, found)
    return AddItem(parts.required("phaseKey", MOST_KEY), card)


def _remove_item(sent: _SentOp) -> RemoveItem:
    parts = sent.reader("phaseKey", "itemKey")
    return RemoveItem(parts.required("phaseKey", MOST_KEY), parts.required("itemKey", MOST_KEY))


def _add_phase(sent: _SentOp) -> AddPhase:
    parts = sent.reader("phase")
    body = parts.nested("phase")
    if body is None:
        parts.refuse(f"{parts.kind} phase is required")
    members = ("key", "name", "description", "startAfter", "duration")
    phase = BodyReader(EDIT, body, members, inside=f"{sent.place}.phase")
    return AddPhase(
        AddedPhase(
            key=phase.slug("key", MOST_KEY),
            name=phase.required("name", MOST_NAME),
            description=phase.text("description", MOST_DESCRIPTION, multiline=True),
            start_after=phase.text("startAfter", MOST_TIMING),
            duration=phase.text("duration", MOST_TIMING),
        )
    )


def _remove_phase(sent: _SentOp) -> RemovePhase:
    parts = sent.reader("phaseKey", "shift")
    shift: PhaseShift | None = parts.one_of("shift", get_args(PhaseShift))
    if shift is None:
        parts.refuse(f"{parts.kind} shift is required")
    return RemovePhase(parts.required("phaseKey", MOST_KEY), shift)


def _stretch_phase(sent: _SentOp) -> StretchPhase:
    parts = sent.reader("phaseKey", "extendBy")
    return StretchPhase(parts.required("phaseKey", MOST_KEY), parts.required("extendBy", MOST_TIMING))


def _unschedule(sent: _SentOp) -> UnscheduleEdit:
    sent.reader()
    return UnscheduleEdit()


_OPS: dict[str, Callable[[_SentOp], Customization]] = {
    "add_item": _add_item,
    "remove_item": _remove_item,
    "add_phase": _add_phase,
    "remove_phase": _remove_phase,
    "stretch_phase": _stretch_phase,
    "unschedule_edit": _unschedule,
}
