"""An invoice as PDF, made of its page by the optional library WeasyPrint.

Owns: running the library, and what is answered without it. Does not own: the page (page), who may read it (the routes).

It runs in a process of its own, one at a time: a long invoice takes seconds of a processor, and other requests would
wait for them. The process loads nothing, as the page names nothing to load.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from importlib.util import find_spec
from typing import Final

from fastapi import Response

from pipeline.api.invoices.page import rendered
from pipeline.core.invoices.printed_invoice import PrintedInvoice
from pipeline.errors import Broken, Rejected, Unavailable

PDF: Final = "application/pdf"
OFF: Final = "pdf-off"
LIMIT_S: Final = 60.0  # of making one
WAIT_S: Final = 20.0  # until the one before is made
_NO_LIBRARY: Final = 3  # exit code: Pango, which WeasyPrint loads, is not on this machine
_PROGRAM: Final = f"""
import sys
try:
    from weasyprint import HTML
except OSError as error:
    print(error, file=sys.stderr)
    sys.exit({_NO_LIBRARY})
def load(url, *_, **__):
    raise ValueError("nothing is loaded")
page = HTML(string=sys.stdin.buffer.read().decode(), url_fetcher=load)
sys.stdout.buffer.write(page.write_pdf())
"""
_turn = threading.BoundedSemaphore()


def pdf_response(page: PrintedInvoice) -> Response:
    """The PDF of a page, as a file named by the invoice's number.

    Raises:
        Rejected: `pdf-off`: WeasyPrint is not installed.
        Unavailable: others are made for too long, or this one takes too long.
    """
    if find_spec("weasyprint") is None:
        raise Rejected(
            OFF,
            "PDF needs `pip install 'tallymark[pdf]'` where the API runs; the page (.html) prints as well.",
        )
    name = "".join(one if one.isascii() and (one.isalnum() or one in "-_.") else "-" for one in page.number)
    headers = {
        "content-disposition": f'attachment; filename="{name}.pdf"',
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }
    return Response(made(rendered(page)), media_type=PDF, headers=headers)


def made(html: str, program: str = _PROGRAM) -> bytes:
    """The PDF of a page. Raises Rejected, Unavailable, and Broken if the library fails."""
    if not _turn.acquire(timeout=WAIT_S):
        raise Unavailable(f"Other invoices have been made to PDF for {WAIT_S:g} s; retry.")
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=html.encode(),
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"The invoice was not made to PDF within {LIMIT_S:g} s.") from None
    finally:
        _turn.release()
    why = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:300]
    if done.returncode == _NO_LIBRARY:
        raise Rejected(OFF, f"WeasyPrint cannot load the library Pango where the API runs: {why}")
    if done.returncode or not done.stdout.startswith(b"%PDF"):
        raise Broken(f"WeasyPrint ended with {done.returncode}: {why}")
    return done.stdout
