"""The three roots of every error, by what must be done about it. Nothing else is caught or raised on purpose."""


class Rejected(Exception):  # noqa: N818 - it is a verdict, not a fault
    """The input is wrong: dead-letter it (or answer 400) with `reason`, and go on.

    `reason` is a stable slug that operators count by (`bad-json`), `detail` one clear sentence for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Unavailable(Exception):  # noqa: N818
    """A neighbour (broker, ClickHouse, Redis, Stripe) is down: retry with backoff and acknowledge nothing."""


class Broken(Exception):  # noqa: N818
    """Our own invariant does not hold: stop the process before a wrong number gets out."""
