"""The three roots of every error, by the reaction that they need. No other exception is raised or caught on purpose."""


class Rejected(Exception):
    """The input is wrong: dead-letter it, or respond with 400, and continue.

    Args:
        reason: A stable slug for programs and metrics, such as `bad-json`.
        detail: One clear sentence for a person.
        facts: What else a program can use, as JSON members: `extensions` of the response.
    """

    def __init__(self, reason: str, detail: str, facts: dict[str, object] | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.facts = facts


class Unavailable(Exception):
    """A service (Kafka, ClickHouse, Redis) is down: retry with backoff, and acknowledge nothing."""


class NotAnswering(Unavailable):
    """It did not respond within its time limit, or cannot be reached at all: other requests to it will fail too."""


class Broken(Exception):
    """An invariant of ours does not hold: stop the process before a wrong number is published."""
