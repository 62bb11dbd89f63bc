"""The settings on where webhooks may go, applied when a channel is defined and again on each connection.

Owns: which settings count, and the list of our own services. Does not own: the rules (core.notifications.safe_address).
"""

from __future__ import annotations

from urllib.parse import urlsplit

from pipeline.core.notifications.safe_address import AddressPolicy, allowed_hosts
from pipeline.settings import Settings

_DEFAULT_PORTS = {
    "clickhouse": 9000,
    "clickhouses": 9440,
    "redis": 6379,
    "rediss": 6379,
    "http": 80,
    "https": 443,
}


def policy_of(settings: Settings) -> AddressPolicy:
    """The policy of the settings. Raises Rejected `bad-setting` if webhook_allow_hosts is invalid."""
    return AddressPolicy(
        settings.webhook_allow_http, allowed_hosts(settings.webhook_allow_hosts), frozenset(_own(settings))
    )


def _own(settings: Settings) -> list[tuple[str, int]]:
    """Host and port of each of our own services."""
    brokers = (one.strip().rpartition(":") for one in settings.kafka.split(","))
    found = [(host.strip("[]").lower(), int(port)) for host, _, port in brokers]
    for url in (settings.clickhouse, settings.redis, settings.api_url):
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme.rpartition("+")[2])
        if parts.hostname and port:
            found.append((parts.hostname, port))
    found.append((settings.api_host.lower(), settings.api_port))
    if settings.metrics_port:
        found.append((settings.metrics_host.lower(), settings.metrics_port))
    return found
