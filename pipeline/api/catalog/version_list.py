"""Lists of plans, add-ons and add-ons of plans: their conditions, order and pages.

Owns: the parameters that these lists share, `keyVersion[key]=version` among them, and selecting by them. Does not own:
the routes, the JSON of an item (core.catalog.version_json).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Query, Request, Response

from pipeline.api.catalog.version_answer import look_up, with_numbers
from pipeline.api.http.json_response import answer
from pipeline.api.http.paging import Page, split
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.catalog_version import CatalogVersion
from pipeline.errors import Rejected

T = TypeVar("T")
V = TypeVar("V", bound=CatalogVersion)
KEY_VERSION = re.compile(r"keyVersion\[([a-z0-9_]{1,64})\](?:\[\d*\])?")
ORDER_BY = ("id", "key", "version", "created_at", "updated_at")
STATUSES = ("draft", "scheduled", "active", "archived")
OrderBy = Annotated[str | None, Query(description=", ".join(ORDER_BY))]


def key_versions(request: Request) -> dict[str, set[int]]:
    """The versions that `keyVersion[key]=version` names, by key. Raises Rejected `bad-query`."""
    wanted: dict[str, set[int]] = {}
    for name, value in request.query_params.multi_items():
        found = KEY_VERSION.fullmatch(name)
        if found is None:
            continue
        for text in value.split(","):
            if not re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII):
                raise Rejected("bad-query", f"{name} must be the number of a version")
            wanted.setdefault(found[1], set()).add(int(text))
    return wanted


def of_versions(
    version: CatalogVersion, ids: Collection[str], keys: Collection[str], numbers: dict[str, set[int]]
) -> bool:
    """Whether a version is one of those that are named; without names each is."""
    return (
        (not ids or version.id in ids)
        and (not keys or version.key in keys)
        and (not numbers or version.version in numbers.get(version.key, ()))
    )


@dataclass(frozen=True)
class VersionFilter:
    """What a list of versions selects; an empty condition selects all."""

    include_deleted: bool
    ids: Collection[str]
    keys: Collection[str]
    numbers: dict[str, set[int]]
    statuses: Collection[str]
    currencies: Collection[str]

    def selects(self, version: CatalogVersion, catalog: CatalogNow) -> bool:
        """Whether a version is in the list."""
        return (
            (self.include_deleted or not version.is_deleted)
            and of_versions(version, self.ids, self.keys, self.numbers)
            and (not self.statuses or catalog.status(version) in self.statuses)
            and (not self.currencies or version.currency in self.currencies)
        )


def version_filter(
    request: Request,
    include_deleted: bool,
    id: list[str] | None,
    key: list[str] | None,
    status: list[str] | None,
    currency: list[str] | None,
) -> VersionFilter:
    """The conditions of a request. Raises Rejected `bad-query` for a status that there is not."""
    statuses = split(status)
    if unknown := [one for one in statuses if one not in STATUSES]:
        raise Rejected("bad-query", f"status must be one of {' '.join(STATUSES)}, not {unknown[0][:64]}")
    return VersionFilter(
        include_deleted, split(id), split(key), key_versions(request), statuses, split(currency)
    )


def list_of_versions(
    request: Request,
    kind: type[V],
    wanted: VersionFilter,
    shown: Callable[[V, CatalogNow], dict[str, Any]],
    by: str | None,
    page: Page,
) -> Response:
    """One page of the versions of a kind; see `page_of_versions`."""

    def listed(catalog: CatalogNow) -> dict[str, Any]:
        found = [one for one in catalog.index.all(kind, catalog.namespace) if wanted.selects(one, catalog)]
        return page_of_versions(
            found, lambda one: one, lambda one: with_numbers(shown(one, catalog)), by, page
        )

    return answer(look_up(request, listed))


def page_of_versions(
    found: Sequence[T],
    version_of: Callable[[T], CatalogVersion],
    shown: Callable[[T], dict[str, Any]],
    by: str | None,
    page: Page,
) -> dict[str, Any]:
    """One page of a list, in the form {totalCount, page, pageSize, items}.

    Args:
        found: all that the conditions select.
        version_of: the version by which an item is ordered.
        shown: the JSON of an item; only those of the page are made.
        by: one of ORDER_BY; None: id.
        page: which part.

    Raises:
        Rejected: `bad-query` for another order.
    """
    if by is not None and by not in ORDER_BY:
        raise Rejected("bad-query", f"orderBy must be one of {' '.join(ORDER_BY)}")

    def place(item: T) -> tuple[Any, str]:
        version = version_of(item)
        return getattr(version, by or ORDER_BY[0]), version.id

    ordered = sorted(found, key=place, reverse=page.descending)
    begin = (page.number - 1) * page.size
    return {
        "totalCount": len(ordered),
        "page": page.number,
        "pageSize": page.size,
        "items": [shown(one) for one in ordered[begin : begin + page.size]],
    }
