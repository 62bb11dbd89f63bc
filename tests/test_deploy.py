"""The containers' files name what there is: every stage, the broker's version, settings that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.local import kafka
from pipeline.settings import Settings, unknown_variables
from pipeline.stages import STAGES

ROOT = Path(__file__).parent.parent
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
PROMETHEUS = (ROOT / "deploy/prometheus.yml").read_text()


def test_every_stage_is_a_service_of_that_name() -> None:
    services = re.findall(
        r"^  ([\w-]+):\n    <<: \*stage\n    command: \[worker, ([\w-]+)\]$", COMPOSE, re.MULTILINE
    )
    assert services == [(stage, stage) for stage in STAGES]


def test_every_stage_is_scraped() -> None:
    names = re.search(r"names: \[(.+)\]", PROMETHEUS)
    assert names is not None
    assert tuple(names[1].split(", ")) == STAGES


def test_containers_and_the_local_stack_run_the_same_kafka() -> None:
    image = re.search(r"image: apache/kafka:(\S+)", COMPOSE)
    assert image is not None
    assert f"kafka_2.13:{image[1]}+" in kafka.JARS


@pytest.mark.parametrize("text", [COMPOSE, DOCKERFILE], ids=["compose", "Dockerfile"])
def test_the_variables_are_settings(text: str) -> None:
    names = set(re.findall(r"^\s*(?:ENV )?(TALLYMARK_\w+)[:=]", text, re.MULTILINE)) - {
        "TALLYMARK_HEALTH_URL"
    }
    assert names
    assert unknown_variables(dict.fromkeys(names, "")) == []


def test_no_published_port_is_open_to_the_network() -> None:
    """The API and Kafka require no password."""
    ports = [port for service in services().values() for port in service.get("ports", ())]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def services(**variables: str) -> dict[str, dict[str, Any]]:
    """The services as compose sees them with these variables; each has to have a default."""
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1], found[2]), COMPOSE)
    assert "${" not in text
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return found


def published(**variables: str) -> dict[str, str]:
    """Host port -> container port, of each service that publishes one."""
    found = services(**variables)
    return {name: found[name]["ports"][0] for name in found if found[name].get("ports")}


def test_each_published_port_is_one_variable() -> None:
    assert published() == {
        "kafka": "127.0.0.1:9092:9092",
        "api": "127.0.0.1:8888:8888",
        "prometheus": "127.0.0.1:9090:9090",
    }
    moved = {"TALLYMARK_KAFKA_PORT": "1", "TALLYMARK_API_PORT": "2", "TALLYMARK_PROMETHEUS_PORT": "3"}
    assert published(**moved) == {
        "kafka": "127.0.0.1:1:9092",
        "api": "127.0.0.1:2:8888",
        "prometheus": "127.0.0.1:3:9090",
    }


@pytest.mark.parametrize("port", ["9092", "29192"])
def test_kafka_sends_clients_to_the_port_that_is_published(port: str) -> None:
    """Otherwise they would write to another program's broker on port 9092 of the host."""
    kafka_ = services(TALLYMARK_KAFKA_PORT=port)["kafka"]
    advertised = dict(
        one.split("://") for one in kafka_["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    )
    assert kafka_["ports"] == [f"{advertised['OUTSIDE']}:9092"]
    assert advertised["OUTSIDE"] == f"127.0.0.1:{port}"


def test_health_is_a_real_request_to_what_is_needed() -> None:
    found = services()
    assert "set tallymark:probe" in found["redis"]["healthcheck"]["test"][1]
    assert "127.0.0.1" not in found["redis"]["healthcheck"]["test"][1], "it is exempt from protected mode"
    assert "SELECT 1" in found["clickhouse"]["healthcheck"]["test"][1]
    assert found["api"]["environment"]["TALLYMARK_HEALTH_URL"].endswith("/api/v1/ready")
    assert "TALLYMARK_HEALTH_URL=http://127.0.0.1:9100/ready" in DOCKERFILE


def test_the_image_does_not_run_as_root() -> None:
    assert "USER 10001:10001" in DOCKERFILE
    assert str(Settings.model_construct().api_port) in DOCKERFILE
