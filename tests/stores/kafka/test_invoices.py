"""The view of invoices without a broker: which are on the disk, and that each is read as it was published."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from pipeline.core.invoices.invoice import ValidationIssue
from pipeline.core.invoices.invoice_list import head_of
from pipeline.core.invoices.state_table import FINAL, InvoiceState
from pipeline.errors import Rejected
from pipeline.records import BillDocument
from pipeline.settings import Settings
from pipeline.stores.kafka.body_file import BodyFile, BodyPlace
from pipeline.stores.kafka.documents import document_key
from pipeline.stores.kafka.invoices import InvoicesView, _kept
from tests.fixtures.invoices_to_print import document, small


def published(id: str, state: InvoiceState, revision: int) -> BillDocument:
    made = small()
    progress = msgspec.structs.replace(made.progress, state=state)
    found = document(msgspec.structs.replace(made, progress=progress), id, f"customer-{int(id) % 7}")
    return msgspec.structs.replace(found, revision=revision)


@pytest.fixture
def view(tmp_path: Path) -> InvoicesView:
    return InvoicesView(Settings.model_construct(kafka="127.0.0.1:1", state_dir=tmp_path / "state"))


def keep(view: InvoicesView, one: BillDocument) -> None:
    view._keep(document_key(one.namespace, one.customer, one.id), _kept(msgspec.json.encode(one)))


def test_any_history_ends_in_the_newest_states_with_settled_ones_on_the_disk(
    view: InvoicesView, tmp_path: Path
) -> None:
    """The file is rewritten several times, since a byte of dead ones is enough for it."""
    view._bodies = BodyFile(tmp_path / "state", dead_bytes=1)
    chance = random.Random(7)
    states: list[InvoiceState] = [
        "gathering",
        "issued",
        "paid",
        "voided",
        "deleted",
        "payment_processing.pending",
    ]
    newest: dict[str, BillDocument] = {}
    for revision in range(400):
        one = published(str(chance.randrange(40)), chance.choice(states), revision)
        newest[one.id] = one
        keep(view, one)
        assert view.document("default", one.id) == one
    assert {one.id: one for one in view.all("default")} == newest
    heads = {one.id: one for one in view.heads("default")}
    assert heads == {id: head_of(one.body) for id, one in newest.items()}
    for key, kept in view._values.items():
        on_disk = isinstance(kept.record, BodyPlace)
        assert on_disk == (heads[key.rpartition("/")[2]].progress.state in FINAL)
    places = [one.record for one in view._values.values() if isinstance(one.record, BodyPlace)]
    assert view._bodies._end <= 3 * sum(one.length for one in places)
    view.close()


def test_one_that_is_settled_can_be_open_again_and_be_removed(view: InvoicesView) -> None:
    keep(view, published("1", "paid", 1))
    keep(view, published("1", "payment_processing.pending", 2))
    found = view.document("default", "1")
    assert found == published("1", "payment_processing.pending", 2)
    keep(view, published("1", "voided", 3))
    view._keep(document_key("default", "customer-1", "1"), None)
    assert view.document("default", "1") is None and view.heads("default") == []


def test_issues_are_listed_of_what_is_open_and_of_voids_that_are_awaited(view: InvoicesView) -> None:
    states: list[tuple[InvoiceState, bool]] = [
        ("issuing.failed", False), ("voided", True), ("voided", False), ("paid", False),
    ]  # fmt: skip
    made = small()
    problem = ValidationIssue(
        id="01ISSUE", severity="critical", message='"awaits_void":true', component="stripe", created_at=""
    )
    content = msgspec.structs.replace(made.content, validation_issues=(problem,))
    for place, (state, awaits_void) in enumerate(states):
        progress = msgspec.structs.replace(made.progress, state=state)
        stored = msgspec.structs.replace(made, content=content, progress=progress, awaits_void=awaits_void)
        keep(view, document(stored, str(place), "customer"))
    assert sorted(one.id for one in view.with_issues()) == ["0", "1"]
    for place in (0, 1):
        keep(view, document(made, str(place), "customer"))
    assert view.with_issues() == []


def test_the_file_has_no_name_and_is_made_when_it_is_needed(view: InvoicesView, tmp_path: Path) -> None:
    keep(view, published("1", "issued", 1))
    assert not (tmp_path / "state").exists()
    keep(view, published("1", "paid", 2))
    assert [*(tmp_path / "state" / "api").iterdir()] == []
    assert view.document("default", "1") == published("1", "paid", 2)


def test_a_body_that_is_no_invoice_is_refused() -> None:
    record = BillDocument("default", "c", "i", 1, 2, msgspec.Raw(b"{}"))
    with pytest.raises(Rejected, match="no invoice"):
        _kept(msgspec.json.encode(record))
