"""Pages of HTML, which a browser shows and prints on A4: an invoice, and the credits of a customer.

Owns: the forms of the pages, and the headers with which they are sent. Does not own: their texts
(core.invoices.printed_invoice, printed_credits), who may read them (the routes). They have no script and load nothing,
so that each can be saved as one file.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from fastapi import Response
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from pipeline.core.invoices.printed_credits import PrintedCredits
from pipeline.core.invoices.printed_invoice import PrintedInvoice

_HERE = Path(__file__).parent
_CREDITS = "credits_page"


class _Page(NamedTuple):
    template: Template
    style: Markup
    policy: str


@cache
def _page(name: str = "page") -> _Page:
    """A page of this package. name: of its files."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = (_HERE / f"{name}.css").read_text("utf-8").strip()
    hashed = b64encode(sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{hashed}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    template = environment.from_string((_HERE / f"{name}.html").read_text("utf-8"))
    return _Page(template, Markup(style), policy)  # it is a file of this package


def rendered(page: PrintedInvoice) -> str:
    """The HTML of an invoice; every text of it is escaped."""
    form, has_tax = _page(), any(line.tax for line in page.lines)
    columns = 5 if has_tax else 4
    return form.template.render(page=page, style=form.style, has_tax=has_tax, columns=columns).lstrip()


def page_response(page: PrintedInvoice) -> Response:
    """The page as an answer, of which a browser runs and loads nothing, and which no cache keeps."""
    return _response(rendered(page), _page())


def rendered_credits(page: PrintedCredits) -> str:
    """The HTML of a customer's credits; every text of it is escaped."""
    form = _page(_CREDITS)
    return form.template.render(page=page, style=form.style)


def credits_response(page: PrintedCredits) -> Response:
    """As `page_response`, of a customer's credits."""
    return _response(rendered_credits(page), _page(_CREDITS))


def _response(html: str, form: _Page) -> Response:
    headers = {
        "content-security-policy": form.policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }
    return Response(html, media_type="text/html", headers=headers)
