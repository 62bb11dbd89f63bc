"""Rows of numbers: each series counts from its start without a gap, whatever is repeated and however it is cut."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.invoices.number_table import LAST, NUMBER, last_key, number_key, numbers
from pipeline.errors import Broken
from pipeline.records import NumberWork
from tests.fixtures.fake_transaction import DictTable


def asked(invoice: int, series: str = "INV", namespace: str = "default", start: int = 1) -> NumberWork:
    return NumberWork(
        namespace, f"c{invoice % 3}", f"i{invoice}", f"{namespace}/{series}", f"{series}-ACME", start
    )


# An invoice always asks in the same series.
requests = st.lists(st.integers(0, 30).map(lambda n: asked(n, ["INV", "CN"][n % 2], ["a", "b"][n // 2 % 2])))


@given(requests, st.sets(st.integers(0, 60)))
def test_numbers_have_no_gap_and_no_repeat_whatever_is_asked_again(
    wanted: list[NumberWork], cuts: set[int]
) -> None:
    table = DictTable()
    edges = [0, *sorted(cut for cut in cuts if cut < len(wanted)), len(wanted)]
    answers = [one for start, end in pairwise(edges) for one in numbers(table, wanted[start:end])]
    given_to: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for request, answer in zip(wanted, answers, strict=True):
        assert (answer.kind, answer.namespace, answer.customer, answer.invoice) == (
            "number", request.namespace, request.customer, request.invoice,
        )  # fmt: skip
        before = given_to[request.series].setdefault(request.invoice, answer.number)
        assert before == answer.number
    for series, of_invoices in given_to.items():
        stem = f"{series.partition('/')[2]}-ACME"
        # In the order of the first requests.
        assert list(of_invoices.values()) == [f"{stem}-{place + 1}" for place in range(len(of_invoices))]
    assert numbers(table, wanted) == answers


def test_a_chunk_reads_and_writes_only_the_rows_that_it_names() -> None:
    table = DictTable()
    numbers(table, [asked(n) for n in range(100)])
    table.commit()
    looked_up: list[bytes] = []

    class Watched(DictTable):
        def get_many(self, keys: list[bytes]) -> list[bytes | None]:
            looked_up.extend(keys)
            return super().get_many(keys)

    watched = Watched(table.rows)
    numbers(watched, [asked(7), asked(7), asked(100)])
    assert looked_up == [last_key("default/INV"), number_key("default/i7"), number_key("default/i100")]
    assert set(watched.changes) == {last_key("default/INV"), number_key("default/i100")}
    assert {key[:1] for key in table.rows} == {LAST, NUMBER}


def test_namespaces_share_neither_a_series_nor_an_invoice() -> None:
    table = DictTable()
    first, second = numbers(table, [asked(1, namespace="a"), asked(1, namespace="b")])
    assert first.number == second.number == "INV-ACME-1"


def test_a_full_series_refuses_with_a_sentence_and_gives_no_number_away() -> None:
    table = DictTable()
    stem = "X" * 24
    wanted = [NumberWork("a", "c", f"i{n}", "a/X", stem, 9) for n in range(3)]
    answers = numbers(table, wanted)
    assert [one.number for one in answers] == [f"{stem}-9", "", ""]
    assert {one.error for one in answers[1:]} == {"number_series_is_full"}
    assert "26 characters" in answers[1].detail
    assert numbers(table, wanted) == answers


def test_an_invoice_that_changes_its_series_is_an_error_of_ours() -> None:
    table = DictTable()
    numbers(table, [asked(1)])
    with pytest.raises(Broken):
        numbers(table, [asked(1, "CN")])
