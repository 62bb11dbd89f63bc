"""What the meters in force will refuse of the events of a request, so that the response reports it at once.

Owns: running the reading of AGGREGATE over events that are not counted yet. Does not own: that reading (gathering,
reading), the other warnings (http_batch). It foresees, and decides nothing: meters may change before the events are
counted, and that a window is full is known only then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from pipeline.core.metering.combine import Group, combine
from pipeline.core.metering.extract import ExtractPlan
from pipeline.core.metering.http_batch import Request, RequestWarning
from pipeline.core.metering.meter import MAX_DIMENSIONS_CHARACTERS
from pipeline.core.metering.refusal import Refusal
from pipeline.records import Event

MAX_DETAIL = 160

PlanOf = Callable[[str], ExtractPlan | None]


class _Sent(msgspec.Struct, gc=False):
    data: msgspec.Raw = msgspec.Raw(b"null")


_sent = msgspec.json.Decoder(list[_Sent]).decode


def refusals(request: Request, plan_of: PlanOf, now_ms: int) -> list[RequestWarning]:
    """One warning for each meter and reason, in the order of the events.

    Args:
        request: sound events.
        plan_of: the meters that want events of a type; None: no meter does.
        now_ms: the time of events that have none.
    """
    plans = {type: plan for type in dict.fromkeys(request.types) if (plan := plan_of(type)) is not None}
    if all(plan.decode is None for plan in plans.values()):
        return []
    sent = _sent(request.packed)
    found: dict[tuple[str, str], RequestWarning] = {}
    for type, plan in plans.items():
        places = [place for place, other in enumerate(request.types) if other == type]
        for place, meters in sorted(_refused(plan, places, sent, request.times_ns, now_ms).items()):
            for slug, why in meters.items():
                if why.reason:
                    _add(found, slug, why, place)
    return list(found.values())


def _refused(
    plan: ExtractPlan,
    places: Sequence[int],
    sent: Sequence[_Sent],
    times_ns: Sequence[int | None],
    now_ms: int,
) -> dict[int, dict[str, Refusal]]:
    """Place -> slug -> why."""
    group = Group("", plan)
    group.places = list(places)
    now_ns = now_ms * 1_000_000
    for place in places:
        time_ns = times_ns[place]
        at_ns = now_ns if time_ns is None else time_ns
        group.events.append(Event("", "", "", "", "", at_ns, now_ms, "", 0, place, sent[place].data))
    group.open(0)
    longest = max(len(bytes(one.data)) for one in group.events) if group.events else 0
    for reader in plan.readers:
        if longest * len(reader.names) > MAX_DIMENSIONS_CHARACTERS:
            combine(reader, group)
        else:
            group.brought(reader)
    return group.refused


def _add(found: dict[tuple[str, str], RequestWarning], slug: str, why: Refusal, place: int) -> None:
    known = found.get((slug, why.reason))
    if known is None:
        detail = f"the meter {slug} will not count it: {why.detail}"[:MAX_DETAIL]
        found[slug, why.reason] = RequestWarning("refused", detail, 1, place, slug, why.reason)
    else:
        found[slug, why.reason] = known._replace(events=known.events + 1)
