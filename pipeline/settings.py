"""Every setting of Tallymark, declared once: its name, type, default and meaning.

Owns: the precedence of sources (the environment, then the file, then the default) and which values are allowed.
Does not own: reading the sources (setting_sources), the effect of a setting. The file is `tallymark.toml` in the
current directory, or the path in `TALLYMARK_CONFIG`; a variable is `TALLYMARK_` and the name in capitals. Durations are
seconds.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from pipeline.errors import Rejected
from pipeline.setting_rules import is_loopback, require_kafka_security
from pipeline.setting_sources import (
    CONFIG_VARIABLE,
    FILE,
    LOCAL_KEY_FILE,
    PREFIX,
    config_path,
    file_values,
    variables,
    with_secrets,
)

__all__ = ["CONFIG_VARIABLE", "LOCAL_KEY_FILE", "PREFIX", "Settings", "config_path", "is_loopback", "load"]

Origin = Literal["env", "file", "default"]
# The secrets that are read when a process starts; the key of `api_key_file` is read by the commands that send it.
READ_FROM_FILES = ("kafka_password", "clickhouse_password", "redis_password", "portal_secret", "secrets_key")
_SCHEMES = {
    "clickhouse": ("http", "https", "clickhouse", "clickhouses", "chdb+http"),
    "redis": ("redis", "rediss", "unix"),
}


def _holds(secret: str) -> Any:
    """The field of the file from which a secret is read."""
    return Field(default="", description=f"file that holds {secret}, instead of the secret itself")


class Settings(BaseModel):
    """The settings of one process. Arguments override the environment, which overrides the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)

    kafka: str = Field(
        default="127.0.0.1:9092", description="Kafka bootstrap servers: host:port, comma separated"
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="security protocol of the connections to Kafka"
    )
    kafka_sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="", description="SASL mechanism; only with a SASL_* security protocol"
    )
    kafka_username: str = Field(default="", description="SASL user name")
    kafka_password: SecretStr = Field(default=SecretStr(""), description="SASL password")
    kafka_password_file: str = _holds("kafka_password")
    kafka_ca: str = Field(
        default="", description="CA certificates for Kafka (PEM file); empty: those of the system"
    )
    kafka_cert: str = Field(default="", description="client certificate for Kafka (PEM file), for mutual TLS")
    kafka_cert_key: str = Field(default="", description="key of the client certificate (PEM file)")
    kafka_plaintext_allowed: bool = Field(
        default=False,
        description="whether connections to Kafka on other machines may be without TLS, as in a private network",
    )
    kafka_replicas: int = Field(default=1, ge=1, le=32767, description="replication factor of created topics")
    kafka_min_insync: int = Field(
        default=1, ge=1, le=32767, description="min.insync.replicas of created topics"
    )

    clickhouse: str = Field(
        default="http://127.0.0.1:8123/tallymark",
        description="ClickHouse URL: http[s]://[user@]host:port/database, or native clickhouse[s]://",
    )
    clickhouse_password: SecretStr = Field(
        default=SecretStr(""), description="password of the ClickHouse user"
    )
    clickhouse_password_file: str = _holds("clickhouse_password")
    clickhouse_at_once: int = Field(
        default=16,
        ge=1,
        le=1_000,
        description="requests of one API process that ask ClickHouse at the same time",
    )
    clickhouse_silence_s: float = Field(
        default=2.0,
        gt=0,
        le=300,
        description="how long ClickHouse may be silent while the API waits; it reports progress of its work",
    )
    clickhouse_query_s: int = Field(
        default=60, ge=1, le=3_600, description="how long one query of the API may take ClickHouse"
    )
    clickhouse_answer_bytes: int = Field(
        default=33_554_432,
        ge=65_536,
        description="largest answer of ClickHouse to one query of the API, about the bytes of its JSON; "
        "a larger one is refused",
    )
    redis: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="Redis URL (redis://, rediss:// or unix://); empty: no Redis",
    )
    redis_password: SecretStr = Field(
        default=SecretStr(""), description="Redis password, when the URL has none"
    )
    redis_password_file: str = _holds("redis_password")

    api_url: str = Field(
        default="http://127.0.0.1:8888", description="URL of the API, for the commands that call it"
    )
    api_host: str = Field(default="127.0.0.1", description="address on which `tallymark api` listens")
    api_port: int = Field(default=8888, ge=0, le=65535, description="port on which `tallymark api` listens")
    api_turn_s: float = Field(
        default=2.5,
        gt=0,
        le=300,
        description="how long a request waits for its turn at a busy store; then 503",
    )
    api_connections_per_ip: int = Field(
        default=1_000,
        ge=0,
        description="limit of open connections from one IP address to one API process; 0: no limit",
    )
    rate_limit_events_s: int = Field(
        default=0, ge=0, description="limit of events per second for one API key; 0: no limit"
    )
    rate_limit_requests_s: int = Field(
        default=0, ge=0, description="limit of requests per second for one API key; 0: no limit"
    )

    auth: Literal["on", "off"] = Field(
        default="on",
        description="whether the API requires keys; off is allowed only when api_host is a loopback address",
    )
    api_key: SecretStr = Field(default=SecretStr(""), description="API key that the commands send")
    api_key_file: str = Field(
        default="",
        description="file that holds that key; empty: .tallymark/admin.key, if api_url is this machine",
    )
    portal_secret: SecretStr = Field(
        default=SecretStr(""),
        description="secret that signs portal tokens, 32 characters or more; empty: no portal",
    )
    portal_secret_file: str = _holds("portal_secret")

    state_dir: Path = Field(
        default=Path(".tallymark/state"), description="folder of workers' tables and the API's invoices"
    )
    partitions: int = Field(
        default=4,
        ge=1,
        le=1024,
        description="partitions of sharded topics; fixed when the topics are created",
    )
    event_partitions: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="partitions of the topics up to usage, raised by `tallymark topics raise`; 0: as partitions",
    )
    session_timeout_s: float = Field(
        default=10.0,
        ge=2,
        le=300,
        description="broker session timeout: a worker without a heartbeat for so long loses its partitions",
    )

    horizon_s: int = Field(
        default=2_764_800,
        ge=1,
        description="dedupe horizon: repeats are recognised for so long, and events that are later are rejected",
    )
    future_limit_s: int = Field(
        default=86_400, ge=0, description="how far in the future the time of an event may be"
    )
    max_event_bytes: int = Field(
        default=1_048_576, ge=1_024, le=1_048_576, description="size of the largest accepted event"
    )

    webhook_schedule_s: str = Field(
        default="0,5,300,1800,7200,18000,36000,50400,72000,86400",
        description="delay before each attempt of a webhook, counted from the attempt before it",
    )
    webhook_timeout_s: float = Field(default=15.0, gt=0, le=60, description="timeout of one webhook attempt")
    webhook_at_once: int = Field(default=4, ge=1, le=1_000, description="concurrent webhooks to one endpoint")
    webhook_kept_s: int = Field(
        default=2_592_000, ge=1, description="how long a finished delivery can be listed and sent again"
    )
    webhook_allow_hosts: str = Field(
        default="",
        description="receivers allowed at any IP address: host:port, comma separated; host:* allows every port",
    )
    webhook_allow_http: bool = Field(
        default=False, description="whether webhooks may be sent to http:// URLs"
    )
    webhook_ca: str = Field(
        default="", description="additional CA certificates for webhook receivers (PEM file)"
    )
    stripe_live_events_s: int = Field(
        default=1_000, ge=1, description="meter events/s that Stripe takes of a live account; 80 % are used"
    )
    stripe_test_events_s: int = Field(
        default=25, ge=1, description="meter events/s that Stripe takes of a sandbox; 80 % are used"
    )
    stripe_grace_s: int = Field(
        default=60, ge=0, le=86_400, description="how long after its end a window of usage is sent to Stripe"
    )
    billing_collect_anyway_s: int = Field(
        default=900, ge=0, le=86_400, description="how long an invoice waits for usage while stages lag"
    )
    secrets_key: SecretStr = Field(
        default=SecretStr(""),
        description="keys for stored secrets: base64 of 32 bytes, comma separated; the first encrypts, all decrypt",
    )
    secrets_key_file: str = _holds("secrets_key")

    stripe_address: str = Field(
        default="",
        description="URL of a stand-in for Stripe, such as the sandbox; empty: Stripe. It never gets a live key",
    )
    stripe_timeout_s: float = Field(
        default=10.0, gt=0, le=60, description="timeout of one call to Stripe, or of the check of a key"
    )
    public_url: str = Field(
        default="",
        description="URL at which Stripe reaches this API, as https://meters.example.com; empty: none",
    )

    metrics_host: str = Field(
        default="127.0.0.1", description="address on which a worker or the API serves its metrics"
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="port on which a worker or the API serves its metrics; 0: a free port",
    )

    def __init__(self, **arguments: Any) -> None:
        given = file_values(type(self).model_fields) | variables(type(self).model_fields) | arguments
        super().__init__(**with_secrets(given, READ_FROM_FILES))

    @field_validator("kafka")
    @classmethod
    def _servers(cls, value: str) -> str:
        for server in value.split(","):
            host, _, port = server.strip().rpartition(":")
            if not host or not port.isdigit():
                raise ValueError(f"{server.strip()!r} is not host:port")
        return value

    @field_validator("clickhouse", "redis", "api_url", "stripe_address", "public_url")
    @classmethod
    def _url(cls, value: str, info: Any) -> str:
        allowed = _SCHEMES.get(info.field_name, ("http", "https"))
        if value == "" and info.field_name in ("redis", "stripe_address", "public_url"):
            return value
        parts = urlsplit(value)
        if parts.scheme not in allowed:
            known = " or ".join(f"{name}://" for name in allowed)
            raise ValueError(f"{_without_password(value)!r} does not begin with {known}")
        if parts.scheme != "unix" and not parts.hostname:
            raise ValueError(f"{_without_password(value)!r} has no host")
        return value

    @field_validator("webhook_allow_hosts")
    @classmethod
    def _receivers(cls, value: str) -> str:
        from pipeline.core.notifications.safe_address import allowed_hosts

        try:
            allowed_hosts(value)
        except Rejected as refusal:
            raise ValueError(refusal.detail) from refusal
        return value

    @field_validator("webhook_schedule_s")
    @classmethod
    def _delays(cls, value: str) -> str:
        if not re.fullmatch(r"\d{1,7}(\.\d{1,3})?(,\d{1,7}(\.\d{1,3})?){0,31}", value):
            raise ValueError(f"{value!r} is not a list of 1 to 32 delays in seconds, comma separated")
        return value

    @field_validator("secrets_key")
    @classmethod
    def _keys(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text and not all(_is_key(one) for one in text.split(",")):
            # The message leaves out the value, which may be part of a real key.
            raise ValueError("every key must be base64 of 32 bytes")
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        require_kafka_security(self)
        if self.auth == "off" and not is_loopback(self.api_host):
            raise ValueError(
                f"auth is off, so api_host must be a loopback address, but it is {self.api_host}"
            )
        if 0 < len(self.portal_secret.get_secret_value()) < 32:
            raise ValueError("portal_secret must have 32 characters or more")
        if self.kafka_min_insync > self.kafka_replicas:
            raise ValueError(
                "kafka_min_insync must not be larger than kafka_replicas: nothing could be written"
            )
        if self.api_key.get_secret_value() and self.api_key_file:
            raise ValueError("api_key and api_key_file are both set; only one may be")
        return self


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 32
    except ValueError:
        return False


def load() -> Settings:
    """The settings of this process. Raises Rejected with a sentence that names the setting and its origin."""
    try:
        return Settings()
    except ValidationError as error:
        raise Rejected("bad-setting", _sentence(error)) from error


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"{message}."
    name = str(first["loc"][0])
    given = name if _own_origin(name) == origin(name) else name + FILE
    places = {"env": PREFIX + given.upper(), "file": f"{given!r} in {config_path()}", "default": name}
    return f"{places[origin(name)]} is wrong: {message[0].lower()}{message[1:]}."


def origin(name: str) -> Origin:
    """Where the value of a setting comes from; for a secret that a file holds, where that file is named."""
    own = _own_origin(name)
    return _own_origin(name + FILE) if own == "default" and name in READ_FROM_FILES else own


def _own_origin(name: str) -> Origin:
    if any(variable.upper() == PREFIX + name.upper() for variable in os.environ):
        return "env"
    return "file" if name in file_values(Settings.model_fields) else "default"


def rows(settings: Settings) -> list[tuple[str, str, Origin, str]]:
    """Name, value, origin and meaning of every setting, for a person; secrets are masked."""
    return [
        (name, _shown(getattr(settings, name)), origin(name), str(field.description))
        for name, field in Settings.model_fields.items()
    ]


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "***" if value.get_secret_value() else "-"
    return _without_password(str(value)) or "-"


def _without_password(url: str) -> str:
    return re.sub(r"(?<=://)([^/@]*):[^/@]*@", r"\1:***@", url)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """TALLYMARK_* variables that match no setting. Not an error: Kubernetes sets such names for its services."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CONFIG_VARIABLE}
    return sorted(name for name in environment if name.startswith(PREFIX) and name.upper() not in known)
