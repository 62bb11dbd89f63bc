"""Portal tokens as text: a JWT that a customer's browser holds for an hour at most.

Owns: signing and checking the JWT (RFC 7519, HS256 alone). Does not own: the token's record and its revocation
(core.access.portal_token, the control log), or which paths take it (auth).
"""

from __future__ import annotations

from typing import NamedTuple

import jwt

from pipeline.core.access.portal_token import CLOCK_SKEW_S, LIFETIME_S, PortalToken
from pipeline.core.values import timestamp

ISSUER = "tallymark"
AUDIENCE = "tallymark-portal"
ALGORITHM = "HS256"
MOST_CHARACTERS = 16_384
_REQUIRED = ["iss", "aud", "sub", "exp", "nbf", "jti", "ns"]
_HEADER = {"alg": ALGORITHM, "typ": "JWT"}


class PortalClaims(NamedTuple):
    """What a token claims: whose usage, by which meters (None: all), of which namespace."""

    id: str
    namespace: str
    subject: str
    meters: frozenset[str] | None


def sign(secret: str, namespace: str, token: PortalToken) -> str:
    """The JWT of a portal token's record on the control log."""
    made_at_s = timestamp.ms_of(token.created_at) // 1000
    claims: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "jti": token.id,
        "ns": namespace,
        "sub": token.subject,
        "nbf": made_at_s - CLOCK_SKEW_S,  # createdAt is by the broker's clock, which may be ahead of ours
        "exp": token.expires_at_ms // 1000,
    }
    if token.allowed_meter_slugs:
        claims["meters"] = token.allowed_meter_slugs
    return jwt.encode(claims, secret, ALGORITHM)


def read(secret: str, text: str) -> PortalClaims | None:
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
    return PortalClaims(claims["jti"], claims["ns"], claims["sub"], frozenset(meters) if meters else None)


def matches(claims: PortalClaims, token: PortalToken | None) -> bool:
    """Whether the record of the control log is the claimed token's, and not invalidated."""
    if token is None or token.invalidated_at is not None or token.subject != claims.subject:
        return False
    slugs = token.allowed_meter_slugs
    return (None if slugs is None else frozenset(slugs)) == claims.meters
