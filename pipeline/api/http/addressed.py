"""Commands about what a path names: the body may say the same, and nothing else.

Owns: putting both together. Does not own: what a command means (core).
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.errors import Rejected


def addressed(kind: str, body: Mapping[str, object], **path: str) -> dict[str, object]:
    """Add what the path names to the body of a command.

    Args:
        kind: of the definition, for the refusal.
        body: as sent.
        path: members that the path gives.

    Returns:
        The body with these members.

    Raises:
        Rejected: `bad-<kind>` where the body gives one of them another value.
    """
    for member, value in path.items():
        if body.get(member) not in (None, value):
            raise Rejected(f"bad-{kind}", f"{kind} {member} is named by the path: leave it out of the body")
    return {**body, **path}
