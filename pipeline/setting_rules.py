"""Which values of settings are allowed together.

Owns: the rules of Kafka's security, and which addresses are this machine. Does not own: the settings (settings).
"""

from __future__ import annotations

import ipaddress
from typing import Protocol

from pydantic import SecretStr


class KafkaSecurity(Protocol):
    """The settings by which clients connect to Kafka."""

    @property
    def kafka(self) -> str: ...

    @property
    def kafka_security_protocol(self) -> str: ...

    @property
    def kafka_sasl_mechanism(self) -> str: ...

    @property
    def kafka_username(self) -> str: ...

    @property
    def kafka_password(self) -> SecretStr: ...

    @property
    def kafka_ca(self) -> str: ...

    @property
    def kafka_cert(self) -> str: ...

    @property
    def kafka_cert_key(self) -> str: ...

    @property
    def kafka_plaintext_allowed(self) -> bool: ...


def require_kafka_security(given: KafkaSecurity) -> None:
    """Check that each setting has an effect, and that no connection to another machine is open by mistake.

    Raises ValueError with the end of a sentence.
    """
    protocol, password = given.kafka_security_protocol, given.kafka_password.get_secret_value()
    is_sasl, is_tls = protocol.startswith("SASL"), protocol.endswith("SSL")
    login = {
        "kafka_sasl_mechanism": given.kafka_sasl_mechanism,
        "kafka_username": given.kafka_username,
        "kafka_password": password,
    }
    files = {
        "kafka_ca": given.kafka_ca,
        "kafka_cert": given.kafka_cert,
        "kafka_cert_key": given.kafka_cert_key,
    }
    if is_sasl and (missing := [name for name, value in login.items() if not value]):
        raise ValueError(f"kafka_security_protocol {protocol} needs {' and '.join(missing)}")
    if not is_sasl and (useless := [name for name, value in login.items() if value]):
        raise ValueError(f"{useless[0]} needs kafka_security_protocol SASL_SSL or SASL_PLAINTEXT")
    if not is_tls and (useless := [name for name, value in files.items() if value]):
        raise ValueError(f"{useless[0]} needs kafka_security_protocol SSL or SASL_SSL")
    if bool(given.kafka_cert) != bool(given.kafka_cert_key):
        raise ValueError("kafka_cert and kafka_cert_key must be set together")
    servers = [server.strip() for server in given.kafka.split(",")]
    far = [server for server in servers if not is_loopback(server.rpartition(":")[0])]
    if far and not is_tls and not given.kafka_plaintext_allowed:
        raise ValueError(
            f"kafka_security_protocol {protocol} sends everything unencrypted to {far[0]}: use SSL or SASL_SSL, or "
            "set kafka_plaintext_allowed to true if the network is private"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; a name other than localhost is not resolved."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
