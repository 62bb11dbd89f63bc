"""The three roots of every error, by what must be done about it. Nothing else is caught or raised on purpose."""


class Rejected(Exception):
    """The input is wrong: dead-letter it (or answer 400) with `reason`, and go on.

    `reason` is a stable slug that operators count by (`bad-json`), `detail` one clear sentence for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Unavailable(Exception):
    """A neighbour (broker, ClickHouse, Redis, Stripe) is down: retry with backoff and acknowledge nothing."""


class NotAnswering(Unavailable):
    """It gave no sign of life in the time that it has, or cannot be reached at all: asking again at once is no use."""


class Broken(Exception):
    """Our own invariant does not hold: stop the process before a wrong number gets out."""
