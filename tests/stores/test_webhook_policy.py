"""Which hosts webhooks may reach by the settings, and which are our own."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipeline.core.notifications.safe_address import target
from pipeline.errors import Rejected
from pipeline.settings import Settings
from pipeline.stores.webhook_policy import policy_of

SETTINGS = Settings.model_construct(
    kafka="broker-1:9092, 127.0.0.1:9093",
    clickhouse="chdb+http://127.0.0.1:8124/tallymark",
    redis="redis://127.0.0.1/0",
    api_url="https://api.example.com",
    api_host="127.0.0.1",
    api_port=8888,
    metrics_host="127.0.0.1",
    metrics_port=9101,
    webhook_allow_http=True,
    webhook_allow_hosts="127.0.0.1:*,localhost:*,broker-1:*",
)


@pytest.mark.parametrize("port", [9092, 9093, 8124, 6379, 8888, 9101])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "broker-1"])
def test_no_webhook_reaches_a_service_of_ours(host: str, port: int) -> None:
    with pytest.raises(Rejected, match="own services"):
        target(f"http://{host}:{port}/", policy_of(SETTINGS))


def test_a_receiver_beside_them_is_reached() -> None:
    assert target("http://127.0.0.1:8890/", policy_of(SETTINGS)).port == 8890


def test_without_settings_nothing_of_this_machine_is_reached() -> None:
    policy = policy_of(Settings.model_construct())
    for url in ("http://127.0.0.1:8890/", "https://127.0.0.1/", "http://example.com/"):
        with pytest.raises(Rejected):
            target(url, policy)
    target("https://example.com/", policy)


def test_a_host_without_a_port_is_no_setting() -> None:
    with pytest.raises(ValidationError, match="is not host:port"):
        Settings(webhook_allow_hosts="127.0.0.1")
