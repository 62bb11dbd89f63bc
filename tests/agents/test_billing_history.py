"""Usage of before a meter was billed, or a subject had a customer, is loaded into the state once."""

from __future__ import annotations

import msgspec

from pipeline.agents.alert_seeding import Job
from pipeline.agents.billing_history import BillingHistory
from pipeline.agents.usage_history import SubjectLog, UsageHistory
from pipeline.core.bills.usage import BilledUsage
from pipeline.core.customers.attribution import Holding
from pipeline.core.definitions.changes import Changes
from pipeline.records import Definition
from tests.fixtures.fake_transaction import DictTable

KEPT_S, NOW_S = 400 * 86_400, 1_800_000_000


def test_each_billed_meter_is_loaded_once_as_far_back_as_usage_is_billed() -> None:
    subjects, table, jobs = SubjectLog(1), DictTable(), list[Job]()
    body: dict[str, object] = {"subject": "ann", "holders": [Holding(0, "ann")]}
    subjects.update(Changes({"ann": Definition(9, "attribution", "default", "ann", "test", 1, body)}))
    history = BillingHistory(UsageHistory(subjects, jobs.append, lambda partition, item: None), KEPT_S)

    def look(revision: int) -> None:
        history.look(0, table, [("default", 7), ("default", 8)], revision, NOW_S)

    assert not history.is_loaded(0)
    look(20)
    look(21)
    assert [(job.meter_id, job.subjects, job.since_s) for job in jobs] == [
        (7, ("ann",), NOW_S - KEPT_S),
        (8, ("ann",), NOW_S - KEPT_S),
    ]
    for job in jobs:
        assert not history.is_loaded(0)
        _, namespace, meter_id, revision = msgspec.json.decode(job.done_record)
        usage = BilledUsage(table, KEPT_S)
        usage.note_loaded(namespace, int(meter_id), int(revision))
        usage.flush()
        look(22)
    assert history.is_loaded(0)
    assert len(jobs) == 2
    history.forget()  # another worker may have had the partition
    assert not history.is_loaded(0)
    look(23)
    assert history.is_loaded(0)
