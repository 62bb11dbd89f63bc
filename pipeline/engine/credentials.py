"""Kafka's security settings as Faust's consumer and aiokafka's clients take them.

Owns: translating librdkafka's properties. Does not own: the settings (stores.kafka.client).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import faust
from aiokafka.helpers import create_ssl_context
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth


def credentials(kafka: Mapping[str, Any]) -> Any:
    """Faust's credentials for librdkafka's SASL and TLS properties; None if there are none."""
    protocol = kafka.get("security.protocol", "PLAINTEXT")
    if protocol == "PLAINTEXT":
        return None
    context = None
    if protocol.endswith("SSL"):
        context = create_ssl_context(
            cafile=kafka.get("ssl.ca.location"),
            certfile=kafka.get("ssl.certificate.location"),
            keyfile=kafka.get("ssl.key.location"),
        )
    if protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka.get("sasl.username"),
            password=kafka.get("sasl.password"),
            mechanism=kafka.get("sasl.mechanism"),
            ssl_context=context,
        )
    return faust.SSLCredentials(context)


def of_client(security: Any) -> dict[str, Any]:
    """The arguments of an aiokafka client for `credentials`."""
    return dict(credentials_to_aiokafka_auth(security, None))
