"""An invoice as PDF: what is answered with the library, without it, and when it fails."""

from __future__ import annotations

import os
import re
import sys
import zlib
from importlib.util import find_spec

import pytest

from pipeline.api.http.problem import status_of
from pipeline.api.invoices import pdf
from pipeline.api.invoices.pdf import made, pdf_response
from pipeline.core.invoices.printed_invoice import PrintedInvoice, printed_invoice
from pipeline.errors import Broken, Rejected, Unavailable
from tests.fixtures.invoices_to_print import NUMBERS, small

PRINTS_INPUT = "import sys; sys.stdout.buffer.write(b'%PDF-' + sys.stdin.buffer.read())"


@pytest.fixture
def page() -> PrintedInvoice:
    return printed_invoice(small(), NUMBERS)


@pytest.mark.skipif(find_spec("weasyprint") is None, reason="the extra `pdf` is not installed")
def test_the_library_makes_a_document_of_the_page(page: PrintedInvoice) -> None:
    answer = pdf_response(page)
    body = bytes(answer.body)
    assert answer.headers["content-type"] == "application/pdf"
    assert body.startswith(b"%PDF-") and body.rstrip().endswith(b"%%EOF")
    parts = re.findall(rb"stream\n(.*?)\nendstream", body, re.DOTALL)
    assert page.number.encode() in b"".join(map(inflated, parts))  # it is in the title


def inflated(part: bytes) -> bytes:
    """A compressed part of a document; empty for a part of another kind."""
    try:
        return zlib.decompress(part)
    except zlib.error:
        return b""


def test_without_the_library_one_sentence_says_what_to_install(
    page: PrintedInvoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf, "find_spec", lambda name: None)
    with pytest.raises(Rejected, match=r"pip install 'tallymark\[pdf\]'") as refused:
        pdf_response(page)
    assert (refused.value.reason, status_of(refused.value.reason)) == ("pdf-off", 501)


def test_the_file_is_named_by_the_number_and_nothing_else(
    page: PrintedInvoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf, "find_spec", lambda name: sys)
    monkeypatch.setattr(pdf, "made", lambda html: html.encode())
    answer = pdf_response(page._replace(number='R/1"; é\r\n'))
    assert answer.headers["content-disposition"] == 'attachment; filename="R-1------.pdf"'
    assert b"Invoice" in bytes(answer.body)


def test_the_page_goes_in_and_the_document_comes_out() -> None:
    assert made("é" * 100_000, PRINTS_INPUT) == b"%PDF-" + ("é" * 100_000).encode()


@pytest.mark.parametrize(
    ("program", "error", "sentence"),
    [
        ("import sys; print('no pango', file=sys.stderr); sys.exit(3)", Rejected, "cannot load .*: no pango"),
        ("raise ValueError('x')", Broken, "ended with 1: ValueError: x"),
        ("print('hello')", Broken, "ended with 0"),
        ("import os; os.kill(os.getpid(), 9)", Broken, "ended with -9"),
    ],
)
def test_a_failure_is_named(program: str, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        made("", program)
    assert made("", PRINTS_INPUT) == b"%PDF-"  # the next one has its turn


def test_one_that_takes_too_long_is_ended_and_others_wait_for_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pdf, "LIMIT_S", 0.2)
    with pytest.raises(Unavailable, match=r"within 0\.2 s"):
        made("", f"import time, os; assert os.getppid() == {os.getpid()}; time.sleep(60)")
    monkeypatch.setattr(pdf, "WAIT_S", 0.05)
    pdf._turn.acquire()
    try:
        with pytest.raises(Unavailable, match="retry"):
            made("", PRINTS_INPUT)
    finally:
        pdf._turn.release()
