"""Idempotency keys: the first result of a key is its result for a day, a 500 too.

Owns: the store and its three refusals. Does not own: which requests carry a key (server). Source: Stripe's API
reference, "Idempotent requests".
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.local.stripe_sandbox.errors import IDEMPOTENCY, StripeRefusal

KEPT_S = 24 * 3_600
MOST_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class StoredResult:
    """What a key's first request was, and its answer; `status` 0 while it runs."""

    path: str
    body: str
    at_s: int
    status: int = 0
    answer: dict[str, object] | None = None


class IdempotencyKeys:
    """Results by key, for KEPT_S."""

    def __init__(self) -> None:
        self._results: dict[str, StoredResult] = {}

    def begin(self, key: str, path: str, body: str, now_s: int) -> StoredResult | None:
        """Look a key up before its request runs, and take it where it is new.

        Returns:
            The stored result; None where the request is to run.

        Raises:
            StripeRefusal: 400 `idempotency_error` for other parameters, 409 while the first one runs.
        """
        if len(key) > MOST_CHARACTERS:
            raise StripeRefusal(
                400, f"Idempotency keys have at most {MOST_CHARACTERS} characters.", type=IDEMPOTENCY
            )
        found = self._results.get(key)
        if found is None or found.at_s <= now_s - KEPT_S:
            self._results[key] = StoredResult(path, body, now_s)
            return None
        if (found.path, found.body) != (path, body):
            raise StripeRefusal(
                400,
                "Keys for idempotent requests can only be used with the same parameters they were first used with.",
                type=IDEMPOTENCY,
            )
        if not found.status:
            raise StripeRefusal(
                409, "There is currently another in-progress request using this key.", "idempotency_key_in_use",
                IDEMPOTENCY, headers={"Stripe-Should-Retry": "true"},
            )  # fmt: skip
        return found

    def end(self, key: str, status: int, answer: dict[str, object]) -> None:
        """Keep the result of a request that was executed."""
        first = self._results[key]
        self._results[key] = StoredResult(first.path, first.body, first.at_s, status, answer)

    def release(self, key: str) -> None:
        """Forget a key whose request was refused before it was executed: by validation or a limit."""
        self._results.pop(key, None)
