"""How Stripe refuses: a status, a type, a code and a sentence.

Owns: the shape of an error answer. Does not own: when one is due.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# A wrong key and a limit have the type of a wrong request; only the status differs.
INVALID, API, IDEMPOTENCY = "invalid_request_error", "api_error", "idempotency_error"


@dataclass
class StripeRefusal(Exception):
    """An answer that is no success.

    Attributes:
        status: of HTTP, 400 to 599.
        message: one sentence for a developer.
        code: Stripe's code, such as `resource_missing`; empty where Stripe gives none.
        type: Stripe's type of error.
        param: the parameter at fault; empty where it is none.
        headers: of the answer, such as `Stripe-Should-Retry`.
    """

    status: int
    message: str
    code: str = ""
    type: str = INVALID
    param: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, object]:
        """The JSON of the answer."""
        error = {"type": self.type, "message": self.message, "code": self.code, "param": self.param}
        return {"error": {name: value for name, value in error.items() if value}}


def invalid(message: str, code: str = "", param: str = "") -> StripeRefusal:
    """A 400: repeating the same request cannot succeed."""
    return StripeRefusal(400, message, code, INVALID, param, {"Stripe-Should-Retry": "false"})


def missing(kind: str, id: str) -> StripeRefusal:
    """A 404 for an object that the account does not have."""
    return StripeRefusal(404, f"No such {kind}: '{id}'", "resource_missing", INVALID, "id")


def unauthorized(key: str) -> StripeRefusal:
    """A 401 for a key that is not the account's. The answer shows only its ends, as Stripe's does."""
    return StripeRefusal(401, f"Invalid API Key provided: {key[:8]}***{key[-4:]}")


def forbidden(key: str, right: str) -> StripeRefusal:
    """A 403 for a restricted key that lacks a right."""
    return StripeRefusal(
        403,
        f"The provided key '{key[:8]}***{key[-4:]}' does not have the required permissions for this endpoint on "
        f"account. Having the '{right}' permission would allow this request to continue.",
        "more_permissions_required_for_application",
    )


def too_many(reason: str) -> StripeRefusal:
    """A 429. reason: the value of `Stripe-Rate-Limited-Reason`, such as `endpoint-rate`."""
    return StripeRefusal(
        429,
        "Request rate limit exceeded.",
        "lock_timeout" if reason == "resource-specific" else "rate_limit",
        INVALID,
        headers={"Stripe-Rate-Limited-Reason": reason},
    )


def failed() -> StripeRefusal:
    """A 500."""
    return StripeRefusal(500, "An unknown error occurred.", type=API)
