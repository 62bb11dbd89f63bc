"""Which outcomes pass, how long to wait, and when it is enough."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallymark import (
    Broken,
    Conflict,
    Forbidden,
    NotFound,
    Refused,
    TallymarkError,
    Unauthorized,
    Unavailable,
)
from tallymark._errors import error_of
from tallymark._request import Answer, Lost, Request, Try, Wait, path
from tallymark._retry import Patience, attempt, may_repeat, retry_after_s, wait_s

READ = Request("GET", "/meters", repeatable=True)
CREATE = Request("POST", "/meters")


def run(
    request: Request, outcomes: list[Answer | Lost], deadline_s: float = 10.0
) -> tuple[Answer, list[float]]:
    """Attempts with these outcomes, the last for ever; the waits too."""
    clock_s, waits, left = 0.0, list[float](), list(outcomes)
    steps = attempt(request, Patience(deadline_s, 5.0, lambda: clock_s, lambda: 1.0))
    outcome: Answer | Lost | None = None
    try:
        while True:
            step = steps.send(outcome)
            outcome = None
            if isinstance(step, Try):
                assert step.timeout_s <= min(5.0, max(0.1, deadline_s - clock_s))
                outcome = left.pop(0) if len(left) > 1 else left[0]
            elif isinstance(step, Wait):
                waits.append(step.seconds)
                clock_s += step.seconds
                assert clock_s <= deadline_s
    except StopIteration as done:
        return done.value, waits


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_passing_answers_pass(status: int) -> None:
    answer, waits = run(
        READ, [Answer(status, {}, b""), Lost(True, "cut"), Lost(False, "no"), Answer(200, {}, b"ok")]
    )
    assert answer.body == b"ok"
    assert waits == [0.1, 0.2, 0.4]


def test_the_deadline_ends_it_with_the_last_word() -> None:
    with pytest.raises(
        Unavailable, match=r"GET /meters: \d+ attempts in 6.3 s; the last: 503: away"
    ) as caught:
        run(READ, [Answer(503, {}, b'{"reason": "broker", "detail": "away"}')])
    assert caught.value.unaccepted == ()


def test_a_wait_beyond_the_deadline_is_not_waited() -> None:
    with pytest.raises(Unavailable, match=r"1 attempts in 0\.0 s"):
        run(READ, [Answer(503, {"retry-after": "11"}, b"")])


@pytest.mark.parametrize(
    ("outcome", "repeats"),
    [
        (Answer(429, {}, b""), True),
        (Lost(False, "no connection"), True),
        (Lost(True, "cut"), False),
        (Answer(503, {}, b""), False),
        (Answer(504, {}, b""), False),
    ],
)
def test_what_is_no_repeat_is_only_tried_again_when_nothing_was_done(
    outcome: Answer | Lost, repeats: bool
) -> None:
    assert may_repeat(CREATE, outcome) is repeats
    if not repeats:
        with pytest.raises(Unavailable, match="unknown whether it was applied"):
            run(CREATE, [outcome])


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 0 "}, 0),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:05 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 5),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:28:05 GMT"}, 0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float) -> None:
    assert retry_after_s(Answer(503, headers, b"")) == seconds


@given(st.integers(1, 10_000), st.floats(0, 1), st.integers(0, 100))
def test_waits_grow_and_have_bounds(tries: int, dice: float, asked_s: int) -> None:
    found_s = wait_s(Answer(503, {"retry-after": str(asked_s)}, b""), tries, dice)
    longest_s = min(10.0, 0.1 * 2 ** min(tries - 1, 20))
    assert asked_s + longest_s / 2 <= found_s <= asked_s + longest_s


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (413, Refused),
        (422, Refused),
    ],
)
def test_errors_are_typed_and_survive_pickle(status: int, kind: type[Refused]) -> None:
    body = b'{"title": "T", "status": 400, "detail": "It is wrong.", "reason": "bad-query", "extensions": {"n": 1.5}}'
    error = error_of(Answer(status, {}, body))
    error.accepted = 3
    assert type(error) is kind and isinstance(error, TallymarkError)
    back = pickle.loads(pickle.dumps(error))
    assert (back.status, back.reason, back.detail, back.accepted) == (status, "bad-query", "It is wrong.", 3)
    assert back.problem["extensions"] == error.problem["extensions"]
    assert str(back) == f"{status} bad-query: It is wrong."


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(500, {}, b"<html>"), "500: status 500"),
        (Answer(302, {"location": "/login"}, b""), "redirects to /login"),
        (Answer(400, {}, b"[]"), "400 http-400: status 400"),
    ],
)
def test_other_answers(answer: Answer, says: str) -> None:
    error = error_of(answer)
    assert says in str(error)
    assert isinstance(error, Broken) or answer.status == 400
    with pytest.raises(type(error)):
        run(READ, [answer])


@pytest.mark.parametrize(
    ("segments", "text"),
    [
        (("meters", "a_b"), "/meters/a_b"),
        (("events", "https://x/y?z#", "é/.."), "/events/https%3A%2F%2Fx%2Fy%3Fz%23/%C3%A9%2F.."),
        (("meters", "..", "query"), "/meters/%2E%2E/query"),
    ],
)
def test_names_stay_in_their_place(segments: tuple[str, ...], text: str) -> None:
    assert path(*segments) == text
    with pytest.raises(ValueError):
        path("meters", "")
