"""Numbers: any order of requests, repeats and replays give 1..n in each series, and the same number to an invoice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.invoices.numbering import (
    MOST_CHARACTERS,
    MOST_START,
    Numbering,
    NumberRequest,
    NumberRow,
    check_apart,
    check_numbering,
    customer_code,
    draft_number,
    gathering_number,
    give,
    series_of,
    stem_of,
)
from pipeline.errors import Broken, Rejected

SERIES = ("default/INV/namespace", "default/CN/namespace", "other/INV/namespace")


def request(invoice: int, series: int = 0, start: int = 1) -> NumberRequest:
    """The series is a function of the invoice, as it is in life."""
    return NumberRequest(series=SERIES[series], invoice_id=f"01{invoice}", stem="INV-ACME", start=start)


@given(
    asked=st.lists(st.integers(0, 30), max_size=60),
    kills=st.lists(st.integers(0, 60), max_size=4),
    start=st.integers(1, 5),
)
def test_numbers_have_no_gap_and_no_repeat(asked: list[int], kills: list[int], start: int) -> None:
    """kills: a part of the requests comes again, as after a crash of the asker or a replay of the log."""
    lasts, rows = dict[str, int](), dict[str, NumberRow]()
    answers = dict[int, set[str]]()
    log = list(asked)
    for kill in kills:
        log[kill:kill] = asked[: kill % (len(asked) + 1)]
    for invoice in log:
        row = give(lasts, rows, request(invoice, invoice % 3, start))
        answers.setdefault(invoice, set()).add(row.number)
    assert all(len(numbers) == 1 for numbers in answers.values())
    for place, series in enumerate(SERIES):
        counts = sorted(row.place for row in rows.values() if row.series == series)
        asking = {invoice for invoice in asked if invoice % 3 == place}
        assert counts == list(range(start, start + len(asking)))
        assert lasts.get(series, start - 1) == start - 1 + len(asking)


@given(asked=st.lists(st.integers(0, 9), min_size=1, max_size=30), cut=st.integers(0, 30))
def test_a_replay_of_any_suffix_gives_the_same_rows(asked: list[int], cut: int) -> None:
    lasts, rows = dict[str, int](), dict[str, NumberRow]()
    for invoice in asked:
        give(lasts, rows, request(invoice))
    before = dict(rows), dict(lasts)
    replayed = [give(lasts, rows, request(invoice)) for invoice in asked[cut:]]
    assert (rows, lasts) == before
    assert [row.number for row in replayed] == [rows[f"01{invoice}"].number for invoice in asked[cut:]]


def test_a_number_is_text() -> None:
    assert give({}, {}, request(1, start=41)) == NumberRow(SERIES[0], 41, "INV-ACME-41")


def test_an_invoice_never_changes_its_series() -> None:
    lasts, rows = dict[str, int](), dict[str, NumberRow]()
    give(lasts, rows, request(1))
    with pytest.raises(Broken, match="has a number of default/INV/namespace"):
        give(lasts, rows, request(1, 1))


def test_a_full_series_refuses_and_changes_nothing() -> None:
    lasts = {SERIES[0]: 10**17 - 1}
    with pytest.raises(Rejected, match="no numbers of 26 characters left"):
        give(lasts, {}, request(1))
    assert lasts == {SERIES[0]: 10**17 - 1}


@pytest.mark.parametrize("scope", ["namespace", "customer", "profile"])
@pytest.mark.parametrize("kind", ["standard", "credit_note"])
def test_the_longest_prefix_leaves_room_for_four_digits(scope: str, kind: str) -> None:
    stem = stem_of(kind, Numbering("LONGER", scope), "Acme Rockets", "01J0000000000000000000000A")  # type: ignore[arg-type]
    assert len(f"{stem}-9999") <= MOST_CHARACTERS


def test_series_are_apart() -> None:
    numberings = [
        Numbering(prefix, scope) for prefix in ("INV", "X") for scope in ("namespace", "customer", "profile")
    ]  # type: ignore[arg-type]
    names = [
        series_of(namespace, kind, numbering, customer, profile)  # type: ignore[arg-type]
        for namespace in ("a", "b")
        for kind in ("standard", "credit_note")
        for numbering in numberings
        for customer, profile in (("c1", "p1"), ("c2", "p2"))
    ]
    shared = sum(2 for numbering in numberings if numbering.scope == "namespace") * 2
    assert len(set(names)) == len(names) - shared


def test_customers_with_one_name_have_other_stems_in_series_of_their_own() -> None:
    own = Numbering(scope="customer")
    assert stem_of("standard", own, "Acme", "01A") != stem_of("standard", own, "Acme", "01B")
    assert stem_of("standard", Numbering(), "Acme", "01A") == stem_of("standard", Numbering(), "Acme", "01B")


@pytest.mark.parametrize("prefix", ["", "inv", "A-B", "TOOLONG", "CN", "CNX", "DRAFT", "GATHER", "É"])
def test_bad_prefixes_are_refused(prefix: str) -> None:
    with pytest.raises(Rejected):
        check_numbering(Numbering(prefix))


@pytest.mark.parametrize("start", [0, -1, MOST_START + 1])
def test_bad_starts_are_refused(start: int) -> None:
    check_numbering(Numbering("A1", start=MOST_START))
    with pytest.raises(Rejected):
        check_numbering(Numbering(start=start))


def test_profiles_that_would_share_numbers_are_refused() -> None:
    others = {"p1": Numbering(), "p2": Numbering("X", "profile")}
    check_apart(Numbering(), "p3", others)
    check_apart(Numbering("X", "profile"), "p2", others)
    for wrong in (Numbering(scope="customer"), Numbering("X", "profile"), Numbering("X")):
        with pytest.raises(Rejected, match="is used by the profile"):
            check_apart(wrong, "p3", others)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "UNKN"),
        ("  ", "UNKN"),
        ("-- Ltd", "LTD"),
        ("Müller & Söhne", "MUSO"),
        ("A B C", "AB"),
        ("x", "X"),
    ],
)
def test_codes_of_names(name: str, code: str) -> None:
    assert customer_code(name) == code


@given(one=st.integers(0, 10**9), other=st.integers(0, 10**9))
def test_draft_numbers_are_functions_of_the_id(one: int, other: int) -> None:
    numbers = [draft_number(f"01{id}", "Acme") for id in (one, other)]
    assert (numbers[0] == numbers[1]) == (one == other)
    assert len(numbers[0]) <= MOST_CHARACTERS
    assert gathering_number(f"01{one}", "Acme", "USD").startswith("GATHER-ACME-USD-")
