"""An invoice as a page of HTML, which a browser shows and prints on A4.

Owns: the form of the page, and the headers with which it is sent. Does not own: its texts
(core.invoices.printed_invoice), who may read it (the routes). It has no script and loads nothing, so that it can be
saved as one file.
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

from pipeline.core.invoices.printed_invoice import PrintedInvoice

_HERE = Path(__file__).parent


class _Page(NamedTuple):
    template: Template
    style: Markup
    policy: str


@cache
def _page() -> _Page:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = (_HERE / "page.css").read_text("utf-8").strip()
    hashed = b64encode(sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{hashed}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    template = environment.from_string((_HERE / "page.html").read_text("utf-8"))
    return _Page(template, Markup(style), policy)  # it is a file of this package


def rendered(page: PrintedInvoice) -> str:
    """The HTML of an invoice; every text of it is escaped."""
    form, has_tax = _page(), any(line.tax for line in page.lines)
    columns = 5 if has_tax else 4
    return form.template.render(page=page, style=form.style, has_tax=has_tax, columns=columns).lstrip()


def page_response(page: PrintedInvoice) -> Response:
    """The page as an answer, of which a browser runs and loads nothing, and which no cache keeps."""
    headers = {
        "content-security-policy": _page().policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }
    return Response(rendered(page), media_type="text/html", headers=headers)
