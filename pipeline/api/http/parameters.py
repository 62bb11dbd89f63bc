"""Which query parameters a request may have: one that is not known, is empty or is given twice is refused.

Owns: these rules, so that a parameter which is accepted acts. Does not own: what a parameter means.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import get_args, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from pipeline.errors import Rejected


async def only_known(request: Request) -> None:
    """A dependency of a route: refuses what it does not declare, and what would have no effect.

    A parameter without a value would be no condition at all, and of one that is given twice only one would count. A
    list may be repeated, and hold several values with commas between them.

    Raises:
        Rejected: `bad-query`.
    """
    _refuse_others(request, ())


def known_or(pattern: re.Pattern[str]) -> Callable[[Request], Awaitable[None]]:
    """A dependency of a route whose parameters have names that cannot be listed: as `only_known`, but for these.

    Args:
        pattern: of the names that cannot be listed.
    """

    async def check(request: Request) -> None:
        _refuse_others(request, (pattern,))

    return check


def _refuse_others(request: Request, patterns: Collection[re.Pattern[str]]) -> None:
    route = request.scope["route"]
    if not isinstance(route, APIRoute):
        return
    names, lists = set[str](), set[str]()
    for name, is_list in _declared(route.dependant):
        (lists if is_list else names).add(name)
    refuse_unknown(request, names | lists, patterns)
    refuse_empty(request, names)
    refuse_repeated(request, names)
    for name in lists:
        if any("" in value.split(",") for value in request.query_params.getlist(name)):
            raise empty(name)


def _declared(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """The query parameters of a route, each with whether it is a list."""
    for field in dependant.query_params:
        kinds = get_args(field.field_info.annotation) or (field.field_info.annotation,)
        yield field.alias, any(get_origin(kind) is list for kind in kinds)
    for inner in dependant.dependencies:
        yield from _declared(inner)


def refuse_unknown(
    request: Request, known: Collection[str], patterns: Collection[re.Pattern[str]] = ()
) -> None:
    """Raises Rejected `bad-query` for a query parameter that is not known."""
    for name in request.query_params:
        if name not in known and not any(pattern.fullmatch(name) for pattern in patterns):
            raise Rejected("bad-query", f"there is no parameter {name[:64]!r}")


def refuse_empty(request: Request, names: Collection[str]) -> None:
    """Raises Rejected `bad-query` for one of these query parameters that is given without a value."""
    for name, value in request.query_params.multi_items():
        if name in names and not value:
            raise empty(name)


def refuse_repeated(request: Request, names: Collection[str]) -> None:
    """Raises Rejected `bad-query` for one of these query parameters that is given more than once."""
    for name in names:
        if len(request.query_params.getlist(name)) > 1:
            raise Rejected("bad-query", f"{name} must be given once only")


def empty(name: str) -> Rejected:
    """The refusal of a parameter without a value."""
    return Rejected("bad-query", f"{name} must not be empty: give it a value, or leave it out")
