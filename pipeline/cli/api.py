"""Functions shared by the commands that call the API.

Owns: the settings of a command, one request with its JSON response, reading all pages of a list. Does not own: HTTP
(cli.http), printing (cli.output).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.errors import Broken

if TYPE_CHECKING:
    from pipeline.cli.http import ApiAnswer, Params
    from pipeline.settings import Settings

PAGE_SIZE = 1000


def load_settings() -> Settings:
    """The settings of this command. Raises Rejected."""
    from pipeline.settings import load

    return load()


def ask(method: str, path: str, *, accept: str = "application/json", **request: Any) -> ApiAnswer:
    """The API's response. Arguments and errors are those of `http.ask`; also Broken for another content type."""
    from pipeline.cli import http

    settings = load_settings()
    answer = http.ask(settings, method, path, accept=accept, **request)
    if answer.content and not answer.content_type.startswith(accept):
        raise Broken(f"The server at {settings.api_url} is not Tallymark's API: check the setting `api_url`.")
    return answer


def ask_json(method: str, path: str, **request: Any) -> Any:
    """The JSON of the API's response, fractions as Decimal."""
    answer = ask(method, path, **request)
    from pipeline.cli.http import json_of

    return json_of(answer)


def given(values: Mapping[str, str | None]) -> list[tuple[str, Any]]:
    """The parameters of a request, from options of which those without a value are left out."""
    return [(name, value) for name, value in values.items() if value is not None]


class PageMembers(NamedTuple):
    """How a list names the number of a page, its size, and the items of an answer."""

    number: str = "page"
    size: str = "pageSize"
    items: str = "items"


PAGE_MEMBERS = PageMembers()


def pages(
    path: str, params: Params = (), version: int = 1, members: PageMembers = PAGE_MEMBERS
) -> Iterator[dict[str, Any]]:
    """All items of a list, page by page."""
    number = 1
    while True:
        asked = [*params, (members.number, number), (members.size, PAGE_SIZE)]
        items = ask_json("GET", path, params=asked, version=version)[members.items]
        yield from items
        if len(items) < PAGE_SIZE:
            return
        number += 1
