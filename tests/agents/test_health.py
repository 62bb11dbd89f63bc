"""A worker's HTTP server: metrics, readiness, and ports that are taken."""

from __future__ import annotations

import json
import logging
import socket
import urllib.error
import urllib.request

import pytest

from pipeline.agents import health
from pipeline.stores.readiness import ServiceAnswer
from tests.fixtures.patience import PATIENCE_S

GOOD = {"kafka": ServiceAnswer(True), "partitions": ServiceAnswer(True)}
BAD = {"kafka": ServiceAnswer(True), "redis": ServiceAnswer(False, "DENIED, says Redis")}


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ready(metrics_url: str) -> tuple[int, dict[str, object]]:
    status, body = get(metrics_url.replace("/metrics", "/ready"))
    return status, json.loads(body)


def test_it_serves_metrics_and_readiness() -> None:
    report = GOOD
    url = health.serve("127.0.0.1", 0, lambda: report)
    status, body = get(url)
    assert status == 200 and "process_cpu_seconds_total" in body
    assert ready(url) == (200, {"ready": True, "needs": {"kafka": "ok", "partitions": "ok"}})
    report = BAD
    needs = {"kafka": "ok", "redis": "DENIED, says Redis"}
    assert ready(url) == (503, {"ready": False, "needs": needs})


def test_it_is_alive_without_asking_what_it_needs() -> None:
    asked: list[str] = []

    def report() -> dict[str, ServiceAnswer]:
        asked.append("services")
        return BAD

    url = health.serve("127.0.0.1", 0, report)
    assert get(url.replace("/metrics", "/alive")) == (200, "alive\n") and asked == []
    assert ready(url)[0] == 503 and asked == ["services"]


def test_it_is_not_alive_when_the_worker_has_stopped() -> None:
    why = ""
    url = health.serve("127.0.0.1", 0, lambda: GOOD, lambda: why).replace("/metrics", "/alive")
    assert get(url) == (200, "alive\n")
    why = "The event loop has not run for 62 s."
    assert get(url) == (503, f"{why}\n")


def test_each_scrape_asks_what_the_worker_needs() -> None:
    report = GOOD
    url = health.serve("127.0.0.1", 0, lambda: report)
    assert 'tallymark_need_up{need="kafka"} 1.0' in get(url)[1]
    report = BAD
    _, body = get(url)
    assert 'tallymark_need_up{need="redis"} 0.0' in body and 'tallymark_need_up{need="kafka"} 1.0' in body


def test_a_port_that_is_taken_is_replaced_with_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with caplog.at_level(logging.WARNING):
            url = health.serve("127.0.0.1", port, lambda: GOOD)
    assert ready(url)[0] == 200 and str(port) not in url
    (record,) = caplog.records
    assert record.getMessage() == (
        f"cannot serve metrics on 127.0.0.1:{port}, using a free port: [Errno 98] Address already in use"
    )


def test_an_address_that_is_not_ours_leaves_the_worker_without_metrics(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert health.serve("192.0.2.1", 0, lambda: GOOD) == ""
    assert "cannot serve metrics on 192.0.2.1: [Errno 99]" in caplog.text


def test_ipv6_has_brackets() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")
    url = health.serve("::1", 0, lambda: GOOD)
    if not url:
        pytest.skip("no IPv6 loopback on this machine")
    assert url.startswith("http://[::1]:") and ready(url)[0] == 200
