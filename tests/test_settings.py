"""Where a setting comes from, what is allowed, and what an error says."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline import settings as module
from pipeline.errors import Rejected
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "tallymark.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def test_defaults_hold_without_a_file() -> None:
    settings = module.load()
    assert (settings.kafka, settings.partitions, settings.horizon_s) == ("127.0.0.1:9092", 4, 32 * 86_400)
    assert {module.origin(name) for name in Settings.model_fields} == {"default"}


def test_arguments_win_over_environment_over_file_over_default(monkeypatch: Patch) -> None:
    write('kafka = "127.0.0.1:1"\nredis = "redis://file:1/0"\npartitions = 8\n')
    monkeypatch.setenv("TALLYMARK_KAFKA", "127.0.0.1:2")
    monkeypatch.setenv("TALLYMARK_REDIS", "redis://env:1/0")
    settings = Settings(kafka="127.0.0.1:3")
    assert (settings.kafka, settings.redis, settings.partitions) == ("127.0.0.1:3", "redis://env:1/0", 8)
    assert [module.origin(name) for name in ("redis", "partitions", "horizon_s")] == [
        "env",
        "file",
        "default",
    ]


def test_the_file_may_be_elsewhere(monkeypatch: Patch) -> None:
    write("partitions = 8\n")
    other = write("partitions = 16\n", "other.toml")
    monkeypatch.setenv("TALLYMARK_CONFIG", str(other))
    assert module.load().partitions == 16
    assert module.config_path() == other


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kafak = 1", "tallymark.toml sets 'kafak', but there is no such setting (did you mean 'kafka'?)."),
        ("zzz = 1", "tallymark.toml sets 'zzz', but there is no such setting."),
        ("kafka = ", "tallymark.toml is not TOML: Invalid value (at end of document)."),
        (
            "partitions = 0",
            "'partitions' in tallymark.toml is wrong: input should be greater than or equal to 1.",
        ),
        ('kafka = "broker"', "'kafka' in tallymark.toml is wrong: 'broker' is not host:port."),
        (
            'redis = "http://u:secret@h/"',
            "'redis' in tallymark.toml is wrong: 'http://u:***@h/' does not begin with "
            "redis:// or rediss:// or unix://.",
        ),
        (
            'clickhouse = "clickhouse:///x"',
            "'clickhouse' in tallymark.toml is wrong: 'clickhouse:///x' has no host.",
        ),
        (
            'kafka_security_protocol = "SASL_SSL"',
            "kafka_security_protocol SASL_SSL needs kafka_sasl_mechanism and kafka_username and kafka_password.",
        ),
        (
            'kafka_sasl_mechanism = "PLAIN"',
            "kafka_sasl_mechanism needs kafka_security_protocol SASL_SSL or SASL_PLAINTEXT.",
        ),
        ('kafka_username = "me"', "kafka_username needs kafka_security_protocol SASL_SSL or SASL_PLAINTEXT."),
        ('kafka_password = "p"', "kafka_password needs kafka_security_protocol SASL_SSL or SASL_PLAINTEXT."),
        ('kafka_ca = "a.pem"', "kafka_ca needs kafka_security_protocol SSL or SASL_SSL."),
        (
            'kafka_security_protocol = "SASL_SSL"\nkafka_sasl_mechanism = "PLAIN"\nkafka_username = "me"',
            "kafka_security_protocol SASL_SSL needs kafka_password.",
        ),
        (
            'kafka_security_protocol = "SSL"\nkafka_cert = "a.pem"',
            "kafka_cert and kafka_cert_key must be set together.",
        ),
        (
            'kafka = "127.0.0.1:1, broker:9092"',
            "kafka_security_protocol PLAINTEXT sends everything unencrypted to broker:9092: use SSL or SASL_SSL, or "
            "set kafka_plaintext_allowed to true if the network is private.",
        ),
        (
            "kafka_min_insync = 2",
            "kafka_min_insync must not be larger than kafka_replicas: nothing could be written.",
        ),
    ],
)
def test_what_is_wrong_in_the_file_is_one_sentence(text: str, sentence: str) -> None:
    write(text)
    with pytest.raises(Rejected) as caught:
        module.load()
    assert (caught.value.reason, caught.value.detail) == ("bad-setting", sentence)


def test_a_wrong_variable_is_named(monkeypatch: Patch) -> None:
    monkeypatch.setenv("TALLYMARK_API_PORT", "tcp://10.0.0.1:80")
    with pytest.raises(Rejected, match=r"^TALLYMARK_API_PORT is wrong: input should be a valid integer"):
        module.load()


def test_a_named_file_must_be_there(monkeypatch: Patch) -> None:
    monkeypatch.setenv("TALLYMARK_CONFIG", "/nowhere.toml")
    with pytest.raises(Rejected, match=r"TALLYMARK_CONFIG is /nowhere.toml, but there is no such file\."):
        module.load()


def test_no_secret_is_shown(monkeypatch: Patch) -> None:
    monkeypatch.setenv("TALLYMARK_REDIS", "redis://:hush@h:1/0")
    monkeypatch.setenv("TALLYMARK_CLICKHOUSE", "clickhouse://me:hush@h:9000/d")
    monkeypatch.setenv("TALLYMARK_PORTAL_SECRET", "hush" * 8)
    Path("password").write_text("hush\n")
    write('clickhouse_password_file = "password"\n')
    rows = {name: (value, origin) for name, value, origin, _ in module.rows(module.load())}
    assert "hush" not in str(rows)
    assert rows["redis"] == ("redis://:***@h:1/0", "env")
    assert rows["portal_secret"] == ("***", "env")
    assert rows["clickhouse_password"] == ("***", "file")
    assert rows["clickhouse_password_file"] == ("password", "file")
    assert rows["redis_password"] == ("-", "default")


def test_every_setting_has_a_meaning() -> None:
    assert all(meaning not in ("", "None") for *_, meaning in module.rows(Settings.model_construct()))


def test_variables_that_set_nothing_are_named() -> None:
    variables = {"TALLYMARK_KAFKA": "", "TALLYMARK_CONFIG": "", "TALLYMARK_API_SERVICE_HOST": "", "HOME": ""}
    assert module.unknown_variables(variables) == ["TALLYMARK_API_SERVICE_HOST"]


def test_a_kafka_of_ones_own_is_a_few_lines() -> None:
    write(
        'kafka = "a.example:9093,b.example:9093"\nkafka_security_protocol = "SASL_SSL"\n'
        'kafka_sasl_mechanism = "SCRAM-SHA-512"\nkafka_username = "me"\nkafka_password = "hush"\n'
        'kafka_ca = "ca.pem"\n'
    )
    config = kafka.client_config(module.load())
    assert {
        name: value for name, value in config.items() if name.split(".")[0] in ("sasl", "ssl", "security")
    } == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "me",
        "sasl.password": "hush",
        "ssl.ca.location": "ca.pem",
    }
    assert config["bootstrap.servers"] == "a.example:9093,b.example:9093"


def test_mutual_tls_needs_no_login() -> None:
    write('kafka_security_protocol = "SSL"\nkafka_cert = "c.pem"\nkafka_cert_key = "k.pem"\n')
    config = kafka.client_config(module.load())
    assert (config["ssl.certificate.location"], config["ssl.key.location"]) == ("c.pem", "k.pem")
    assert not any(name.startswith("sasl") for name in config)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"auth": "off", "api_host": "0.0.0.0"}, "auth is off, so api_host must be a loopback address"),
        ({"auth": "off", "api_host": "api.example"}, "auth is off, so api_host must be a loopback address"),
        ({"portal_secret": "short"}, "portal_secret must have 32 characters or more"),
    ],
)
def test_doors_are_not_left_open(values: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Settings(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_without_keys_on_loopback(host: str) -> None:
    assert Settings(auth="off", api_host=host).auth == "off"
