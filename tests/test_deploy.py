"""The containers' files name what there is: every stage, the broker's version, settings that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.local import kafka
from pipeline.settings import Settings, unknown_variables
from pipeline.stages import STAGES

ROOT = Path(__file__).parent.parent
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
PROMETHEUS = (ROOT / "deploy/prometheus.yml").read_text()


def test_every_stage_is_a_service_of_that_name() -> None:
    services = re.findall(
        r"^  (\w+):\n    <<: \*stage\n    command: \[worker, (\w+)\]$", COMPOSE, re.MULTILINE
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
    """The API and Kafka ask nobody for a password."""
    ports = re.findall(r'ports: \["([^"]+)"\]', COMPOSE)
    assert len(ports) == COMPOSE.count("ports:")
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_does_not_run_as_root() -> None:
    assert "USER 10001:10001" in DOCKERFILE
    assert str(Settings.model_construct().api_port) in DOCKERFILE
