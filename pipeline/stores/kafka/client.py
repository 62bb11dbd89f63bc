"""Connections to a Kafka cluster: settings as librdkafka's configuration, and small admin calls.

Owns: addresses, TLS, authentication, and the sentence when Kafka is unavailable. Does not own: topics (topics.py),
transactions and consuming (engine).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]

from pipeline.engine.retry import within
from pipeline.errors import NotAnswering, Rejected, Unavailable
from pipeline.settings import Settings

_SILENT = ("_TRANSPORT", "_TIMED_OUT", "_MSG_TIMED_OUT", "_ALL_BROKERS_DOWN", "_RESOLVE")
_NO_RIGHT = "_AUTHORIZATION_FAILED"
ConfigValue = str | int | float | bool


def client_config(settings: Settings) -> dict[str, ConfigValue]:
    """The librdkafka properties of every client: addresses of the brokers and authentication."""
    config: dict[str, ConfigValue] = {
        "bootstrap.servers": settings.kafka,
        "security.protocol": settings.kafka_security_protocol,
        "client.id": "tallymark",
        # A broker that was restarted is connected again at once.
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1000,
        "log.connection.close": False,
    }
    if settings.kafka_sasl_mechanism:
        config["sasl.mechanism"] = settings.kafka_sasl_mechanism
        config["sasl.username"] = settings.kafka_username
        config["sasl.password"] = settings.kafka_password.get_secret_value()
    if settings.kafka_ca:
        config["ssl.ca.location"] = settings.kafka_ca
    if settings.kafka_cert:
        config["ssl.certificate.location"] = settings.kafka_cert
        config["ssl.key.location"] = settings.kafka_cert_key
    return config


def producer_config(settings: Settings) -> dict[str, ConfigValue]:
    """The properties of a plain producer: idempotent, and with the partitioner of Java clients."""
    return client_config(settings) | {
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "linger.ms": 5,
    }


def admin(settings: Settings, on_error: Callable[[KafkaError], None] = lambda error: None) -> AdminClient:
    """An admin client without a log of its own: callers report errors. It must outlive its futures.

    Raises Rejected `bad-setting` if a file of the TLS settings cannot be used. Every process asks for an admin client
    before it makes another one.
    """
    config: dict[str, Any] = {**client_config(settings), "log_level": 0, "error_cb": on_error}
    try:
        return AdminClient(config, logger=_silent())
    except KafkaException as error:
        raise Rejected(
            "bad-setting", f"Kafka's security settings cannot be used: {error.args[0].str()}."
        ) from error


def cluster(settings: Settings, timeout_s: float = 5.0) -> ClusterMetadata:
    """The cluster's brokers and topics. Raises Unavailable when no broker answers in time."""
    noted: list[KafkaError] = []
    client = admin(settings, noted.append)
    try:
        return client.list_topics(timeout=timeout_s)
    except KafkaException as error:
        client.poll(0)  # delivers errors that were noted meanwhile, such as failed authentication
        raise unavailable(settings, KafkaException(most_telling(noted, error.args[0]))) from error


def wait_until_up(settings: Settings, timeout_s: float = 30.0) -> None:
    """Return when a broker answers. Raises Unavailable after `timeout_s`."""
    within(timeout_s, lambda: cluster(settings, timeout_s=1.0), lambda error: isinstance(error, Unavailable))


def topic_ids(
    settings: Settings, names: Iterable[str], timeout_s: float = 10.0, client: AdminClient | None = None
) -> dict[str, str]:
    """Kafka's id of each topic; a recreated topic has another id. Missing topics are left out.

    client: to ask with, for callers that ask again and again; a new one costs the broker two connections.
    """
    wanted = list(names)
    if not wanted:
        return {}
    if client is None:  # an idle client is false
        client = admin(settings)
    futures = client.describe_topics(TopicCollection(wanted), request_timeout=timeout_s)
    found: dict[str, str] = {}
    for name, future in futures.items():
        try:
            found[name] = str(future.result().topic_id)
        except KafkaException as error:
            if error.args[0].name() != "UNKNOWN_TOPIC_OR_PART":
                raise unavailable(settings, error, f" the topic {name}") from error
    return found


def unavailable(settings: Settings, error: KafkaException, what: str = "") -> Unavailable:
    """The error for a cluster that does not answer, or refuses a request, with Kafka's own message.

    what: that is refused, as " the topic x".
    """
    cause = error.args[0]
    name, text = cause.name(), cause.str().rstrip(".")
    if name in _SILENT:
        is_open = settings.kafka_security_protocol.endswith("PLAINTEXT") and "Connect" not in text
        hint = " (does it require TLS?)" if is_open and name == "_TRANSPORT" else ""
        return NotAnswering(f"Kafka at {settings.kafka} does not answer: {text}{hint}.")
    hint = " `tallymark topics acls` prints the rights that are needed." if name.endswith(_NO_RIGHT) else ""
    return Unavailable(f"Kafka at {settings.kafka} refused{what}: {name}, {text}.{hint}")


def most_telling(noted: Sequence[KafkaError], final: KafkaError) -> KafkaError:
    """The most helpful error: failed authentication, else the last failed connection, else the final one."""
    refused = [one for one in noted if one.name() in ("_AUTHENTICATION", "_SSL")]
    connections = [one for one in noted if one.name() in ("_RESOLVE", "_TRANSPORT")]
    return [final, *connections[-1:], *refused[:1]][-1]


def _silent() -> object:
    import logging

    logger = logging.getLogger("pipeline.stores.kafka.client.librdkafka")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
