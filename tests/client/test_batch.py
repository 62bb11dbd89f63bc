"""Batches keep order and limits, and lose nothing; what a server does to them changes no event."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, pairwise

from hypothesis import given
from hypothesis import strategies as st
from tallymark import Prepared, Refused, TallymarkError, Unavailable
from tallymark._batch import batches, halves, ingest_request
from tallymark._ingest import deliver, ingest
from tallymark._json import loads
from tallymark._request import Answer, Asking, Lost, Request, T, Try
from tallymark._retry import Patience, patiently

EVENTS = st.lists(st.integers(0, 60), max_size=60).map(
    lambda sizes: [
        Prepared(b'{"id":"%d","x":"%b"}' % (place, b"x" * size)) for place, size in enumerate(sizes)
    ]
)


@given(EVENTS, st.integers(1, 20), st.integers(85, 300))
def test_batches_keep_order_and_limits(events: list[Prepared], max_events: int, max_bytes: int) -> None:
    found = batches(events, max_events, max_bytes)
    assert list(chain(*found)) == events
    for batch in found:
        assert 1 <= len(batch) <= max_events
        assert len(ingest_request(batch).content or b"") <= max_bytes
        assert loads(ingest_request(batch).content or b"") == [event.members() for event in batch]
    for batch, after in pairwise(found):  # none is cut before it is full
        size = len(ingest_request(batch + after[:1]).content or b"")
        assert len(batch) == max_events or size > max_bytes


@given(EVENTS.filter(lambda events: len(events) > 1))
def test_halves_are_all_of_it(events: list[Prepared]) -> None:
    first, second = halves(events)
    assert first and second and [*first, *second] == events


class Chaos:
    """A server and a network, by dice: it may take a batch and lose the answer, refuse it as too large, be away."""

    def __init__(self, dice: Callable[[], str], poison: set[str]) -> None:
        self.dice = dice
        self.poison = poison
        self.clock_s = 0.0
        self.stored: dict[str, bytes] = {}
        self.order: list[str] = []
        self.sent: dict[str, set[bytes]] = {}

    def run(self, asking: Asking[T]) -> T:
        steps = patiently(asking, Patience(30.0, 5.0, lambda: self.clock_s, lambda: 0.5))
        outcome: Answer | Lost | None = None
        try:
            while True:
                step = steps.send(outcome)
                outcome = None
                if isinstance(step, Try):
                    self.clock_s += 0.01
                    outcome = self.outcome(step.request)
                else:
                    self.clock_s += step.seconds
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    def outcome(self, request: Request) -> Answer | Lost:
        content = request.content or b""
        events = {str(event["id"]): event for event in loads(content)}
        for event in batches_of(content):
            self.sent.setdefault(event[0], set()).add(event[1])
        fault = self.dice()
        if fault == "away":
            return Answer(503, {"retry-after": "1"}, b"")
        if fault == "lost":
            return Lost(True, "cut")
        if fault == "too-large" and len(events) > 1:
            return Answer(413, {}, b"{}")
        if self.poison & events.keys():
            place = min(place for place, id in enumerate(events) if id in self.poison)
            named = b"" if fault == "unnamed" else b', "extensions": {"event": %d}' % place
            return Answer(400, {}, b'{"reason": "bad-data"%b}' % named)
        for id, text in batches_of(content):
            if id not in self.stored:
                self.order.append(id)
            self.stored.setdefault(id, text)
        if fault == "answer-lost":
            return Lost(True, "cut")
        return Answer(200, {}, b'{"accepted": %d, "warnings": []}' % len(events))


def batches_of(content: bytes) -> list[tuple[str, bytes]]:
    texts = [b'{"id"' + part.rstrip(b",]") for part in content.split(b'{"id"')[1:]]
    return [(str(loads(text)["id"]), text) for text in texts]


FAULTS = st.sampled_from(["", "", "", "away", "lost", "answer-lost", "too-large"])


@given(EVENTS, st.data())
def test_ingest_through_any_faults(events: list[Prepared], data: st.DataObject) -> None:
    chaos = Chaos(lambda: data.draw(FAULTS), set())
    ids = [str(event.members()["id"]) for event in events]
    try:
        assert chaos.run(ingest(events)).accepted == len(events)
        assert chaos.order == ids
    except Unavailable as error:
        assert error.accepted + len(error.unaccepted) == len(events)
        assert list(error.unaccepted) == events[error.accepted :]
        assert set(ids[: error.accepted]) <= chaos.stored.keys()
    assert all(len(texts) == 1 for texts in chaos.sent.values())  # each try sent the same bytes


@given(EVENTS, st.sets(st.integers(0, 59).map(str)), st.data())
def test_deliver_leaves_out_only_what_is_refused(
    events: list[Prepared], poison: set[str], data: st.DataObject
) -> None:
    faults = st.sampled_from(["", "", "", "away", "answer-lost", "too-large", "unnamed"])
    chaos = Chaos(lambda: data.draw(faults), poison)
    failures = chaos.run(deliver(events)).failures
    failed = {str(failure.event.members()["id"]) for failure in failures}
    refused = {str(f.event.members()["id"]) for f in failures if isinstance(f.error, Refused)}
    ids = {str(event.members()["id"]) for event in events}
    assert refused <= poison
    assert ids - failed <= chaos.stored.keys()
    assert not poison & chaos.stored.keys()
    if all(isinstance(failure.error, Refused) for failure in failures):
        assert failed == poison & ids
    assert all(isinstance(failure.error, TallymarkError) for failure in failures)
