"""Lists page by page, as OpenMeter's users know them: page, pageSize, order, orderBy.

Owns: the parameters, the order and the form of a page. Does not own: what is in a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import Depends, Query, Request

from pipeline.errors import Rejected

PAGE_SIZE, MOST_PAGE_SIZE = 100, 1000
JsonRow = dict[str, Any]
Several = Annotated[
    list[str] | None, Query(description="can be repeated, or a list with commas: any of them")
]


class Page(NamedTuple):
    """Which part of a list is wanted, and in which direction."""

    number: int
    size: int
    descending: bool


Order = Annotated[Literal["ASC", "DESC"], Query(description="ascending or descending")]


def _page(
    page: Annotated[int, Query(ge=1, le=10**9, description="from 1")] = 1,
    pageSize: Annotated[int, Query(ge=1, le=MOST_PAGE_SIZE, description="most items of a page")] = PAGE_SIZE,
    order: Order = "ASC",
) -> Page:
    return Page(page, pageSize, order == "DESC")


def _unordered_page(
    page: Annotated[int, Query(ge=1, le=10**9, description="from 1")] = 1,
    pageSize: Annotated[int, Query(ge=1, le=MOST_PAGE_SIZE, description="most items of a page")] = PAGE_SIZE,
) -> Page:
    return Page(page, pageSize, descending=False)


Paged = Annotated[Page, Depends(_page)]
PagedInOrder = Annotated[Page, Depends(_unordered_page)]  # of a list that has one order


def ordered(
    rows: Iterable[Mapping[str, Any]], by: str | None, allowed: Sequence[str], page: Page
) -> list[JsonRow]:
    """All rows by one member; ties by id. The default is the first of `allowed`. Raises Rejected `bad-query`."""
    if by is not None and by not in allowed:
        raise Rejected("bad-query", f"orderBy must be one of {' '.join(allowed)}")
    member = by or allowed[0]
    return sorted(
        map(dict, rows),
        key=lambda row: (str(row.get(member) or ""), str(row.get("id", ""))),
        reverse=page.descending,
    )


def cut(rows: Sequence[JsonRow], page: Page) -> list[JsonRow]:
    """The rows of one page."""
    begin = (page.number - 1) * page.size
    return list(rows[begin : begin + page.size])


def either(
    request: Request, rows: Sequence[JsonRow], page: Page, offset: int, limit: int
) -> JsonRow | list[JsonRow]:
    """A list by offset and limit; asked with `page` or `pageSize`, a page: as OpenMeter's v1 does."""
    if {"page", "pageSize"} & set(request.query_params):
        return paginated(rows, page)
    return list(rows[offset : offset + limit])


def split(values: Iterable[str] | None) -> set[str]:
    """What a parameter names that may be repeated, or hold several with commas between them."""
    return {one for value in values or () for one in value.split(",")}


def paginated(rows: Sequence[JsonRow], page: Page) -> JsonRow:
    """One page in the form {totalCount, page, pageSize, items}."""
    return {"totalCount": len(rows), "page": page.number, "pageSize": page.size, "items": cut(rows, page)}
