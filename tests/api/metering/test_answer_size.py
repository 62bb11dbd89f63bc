"""The size of an answer has a limit, and the refusal says what to do."""

from __future__ import annotations

from fastapi.testclient import TestClient

from pipeline.api.app import create_app
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.stored_rows import write

METER = {"slug": "tokens", "eventType": "prompt", "aggregation": "SUM", "valueProperty": "$.tokens"}


def test_a_larger_answer_is_refused(served: Settings, decider: ControlStage, store: ClickHouse) -> None:
    write(store, [(f"subject-{n:04}" + "x" * 100, 0, "small") for n in range(1_000)])
    app = create_app(served.model_copy(update={"clickhouse_answer_bytes": 65_536}))
    with TestClient(app, base_url="http://testserver/api/v1") as client:
        assert client.post("/meters", json=METER).status_code == 201
        assert client.get("/meters/tokens/query").status_code == 200
        for path in ("/meters/tokens/query?groupBy=subject", "/meters/tokens/subjects"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["reason"]) == (400, "answer-too-large")
            assert answer.json()["detail"] == (
                "The answer is too large, more than 65,536 bytes: ask for a shorter time, longer windows, fewer "
                "groups, fewer subjects by a filter, or a lower limit."
            )
