"""What Kafka's settings may be together, for every protocol."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.setting_rules import is_loopback, require_kafka_security
from pipeline.settings import Settings

LOGIN = {"kafka_sasl_mechanism": "SCRAM-SHA-512", "kafka_username": "me", "kafka_password": SecretStr("hush")}
CERTIFICATE = {"kafka_cert": "c.pem", "kafka_cert_key": "k.pem"}
FAR = "127.0.0.1:1,b.example:9093"


def check(**values: Any) -> str:
    """The refusal; empty: allowed."""
    try:
        require_kafka_security(Settings.model_construct(**values))
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"kafka": "[::1]:9092,localhost:1"},
        {"kafka": FAR, "kafka_plaintext_allowed": True},
        {"kafka": FAR, "kafka_security_protocol": "SSL"},
        {"kafka": FAR, "kafka_security_protocol": "SSL", "kafka_ca": "a.pem", **CERTIFICATE},
        {"kafka": FAR, "kafka_security_protocol": "SASL_SSL", "kafka_ca": "a.pem", **LOGIN},
        {"kafka": FAR, "kafka_security_protocol": "SASL_SSL", **LOGIN, **CERTIFICATE},
        {"kafka_security_protocol": "SASL_PLAINTEXT", **LOGIN},
    ],
)
def test_allowed(values: dict[str, Any]) -> None:
    assert check(**values) == ""


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_nothing_leaves_this_machine_unencrypted_by_mistake(protocol: str) -> None:
    login = LOGIN if protocol.startswith("SASL") else {}
    refused = check(kafka=FAR, kafka_security_protocol=protocol, **login)
    assert refused.startswith(
        f"kafka_security_protocol {protocol} sends everything unencrypted to b.example:9093"
    )


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
@pytest.mark.parametrize("name", list(LOGIN))
def test_a_login_without_sasl_is_refused(protocol: str, name: str) -> None:
    refused = check(kafka_security_protocol=protocol, **{name: LOGIN[name]})
    assert refused == f"{name} needs kafka_security_protocol SASL_SSL or SASL_PLAINTEXT"


@pytest.mark.parametrize("name", list(LOGIN))
def test_a_login_is_whole(name: str) -> None:
    part = {key: value for key, value in LOGIN.items() if key != name}
    refused = check(kafka_security_protocol="SASL_SSL", **part)
    assert refused == f"kafka_security_protocol SASL_SSL needs {name}"


@pytest.mark.parametrize("name", ["kafka_ca", *CERTIFICATE])
def test_files_of_tls_without_tls_are_refused(name: str) -> None:
    assert check(**{name: "x.pem"}) == f"{name} needs kafka_security_protocol SSL or SASL_SSL"


@pytest.mark.parametrize("host", ["10.0.0.1", "broker", "localhost.example", ""])
def test_another_machine(host: str) -> None:
    assert not is_loopback(host)
