"""Portal tokens as text: a JWT that a customer's browser holds for an hour at most.

Owns: signing and checking the JWT (RFC 7519, HS256 alone). Does not own: the token's record and its revocation
(core.access.portal_token, the control log), or which paths take it (auth).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jwt

from pipeline.core.access.portal_token import CLOCK_SKEW_S, LIFETIME_S
from pipeline.core.values import timestamp

ISSUER = "tallymark"
AUDIENCE = "tallymark-portal"
ALGORITHM = "HS256"
MOST_CHARACTERS = 16_384
_REQUIRED = ["iss", "aud", "sub", "exp", "nbf", "jti", "ns"]
_HEADER = {"alg": ALGORITHM, "typ": "JWT"}


class PortalToken(NamedTuple):
    """What a token says: whose usage, by which meters (None: all), of which namespace."""

    id: str
    namespace: str
    subject: str
    meters: frozenset[str] | None


def sign(secret: str, namespace: str, body: Mapping[str, object]) -> str:
    """The JWT of a portal token's record on the control log."""
    made_at_s = timestamp.ms_of(str(body["createdAt"])) // 1000
    claims: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "jti": body["id"],
        "ns": namespace,
        "sub": body["subject"],
        "nbf": made_at_s - CLOCK_SKEW_S,  # createdAt is by the broker's clock, which may be ahead of ours
        "exp": timestamp.ms_of(str(body["expiresAt"])) // 1000,
    }
    if body.get("allowedMeterSlugs"):
        claims["meters"] = body["allowedMeterSlugs"]
    return jwt.encode(claims, secret, ALGORITHM)


def read(secret: str, text: str) -> PortalToken | None:
    """What a token says, if it is ours and in time; None for any other. The control log must be asked too.

    Its header must be exactly ours: nothing in a token chooses a key or an algorithm.
    """
    if not secret or len(text) > MOST_CHARACTERS:
        return None
    try:
        if jwt.get_unverified_header(text) != _HEADER:
            return None
        claims = jwt.decode(
            text,
            secret,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=0,
            options={"require": _REQUIRED, "strict_aud": True},
        )
        if not 0 < claims["exp"] - claims["nbf"] <= LIFETIME_S + 2 * CLOCK_SKEW_S:
            return None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):  # its header is anyone's
        return None
    meters = claims.get("meters")
    texts = [claims["jti"], claims["ns"], claims["sub"], *(meters or [])]
    if not isinstance(meters, list | None) or not all(isinstance(text, str) for text in texts):
        return None
    return PortalToken(claims["jti"], claims["ns"], claims["sub"], frozenset(meters) if meters else None)


def matches(token: PortalToken, body: Mapping[str, object] | None) -> bool:
    """Whether the record of the control log is the token's, and not invalidated."""
    if body is None or "invalidatedAt" in body or body.get("subject") != token.subject:
        return False
    slugs = body.get("allowedMeterSlugs")
    return (frozenset(map(str, slugs)) if isinstance(slugs, list) else None) == token.meters
