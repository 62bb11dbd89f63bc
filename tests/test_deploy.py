"""The containers' files name what there is: every stage, the broker's version, settings that exist. Each container may
do as little as possible, has limits, and needs passwords that no file of the repository has."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.local import kafka
from pipeline.settings import Settings, unknown_variables
from pipeline.stages import SINGLE, STAGES

ROOT = Path(__file__).parent.parent
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
PROMETHEUS = (ROOT / "deploy/prometheus.yml").read_text()
HEALTHY = ROOT / "deploy/healthy"
# One password for each program that has data or users, and nothing that a reader of this repository knows.
PASSWORDS = ("CLICKHOUSE_PASSWORD", "REDIS_PASSWORD", "GRAFANA_PASSWORD", "GRAFANA_CLICKHOUSE_PASSWORD")
STATEFUL = {"kafka", "clickhouse", "redis", "prometheus"}


def test_every_stage_is_a_service_of_that_name() -> None:
    services = re.findall(
        r"^  ([\w-]+):\n    <<: \*stage\n    command: \[worker, ([\w-]+)\]$", COMPOSE, re.MULTILINE
    )
    assert services == [(stage, stage) for stage in STAGES]


def test_every_stage_is_scraped() -> None:
    names = re.search(r"names: \[(.+)\]", PROMETHEUS)
    assert names is not None
    assert tuple(names[1].split(", ")) == STAGES


def test_the_api_is_scraped() -> None:
    jobs = {one["job_name"]: one for one in yaml.safe_load(PROMETHEUS)["scrape_configs"]}
    (found,) = jobs["tallymark-api"]["dns_sd_configs"]
    assert (found["names"], found["port"]) == (["api"], 9100)


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


def services(**variables: str) -> dict[str, dict[str, Any]]:
    """The services as compose sees them with these variables; each other one has a default or is a password."""
    text = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: f"secret-of-{found[1]}", COMPOSE)
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1], found[2]), text)
    assert "${" not in text
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return found


SERVICES = services()
every_service = pytest.mark.parametrize("name", SERVICES)


def test_nothing_starts_without_its_passwords() -> None:
    required = set(re.findall(r"\$\{(\w*PASSWORD\w*)([^}]*)\}", COMPOSE))
    assert required == {(name, ":?run deploy/secrets") for name in PASSWORDS}


def test_the_passwords_are_written_once_and_differ(tmp_path: Path) -> None:
    for _ in range(2):
        subprocess.run(["sh", ROOT / "deploy/secrets"], cwd=tmp_path, check=True, capture_output=True)
    file = tmp_path / ".env"
    values = dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert set(PASSWORDS) | {"PORTAL_SECRET", "SECRETS_KEY"} == set(values)
    assert len(set(values.values())) == len(values)
    assert file.stat().st_mode & 0o077 == 0
    Settings(portal_secret=values["PORTAL_SECRET"], secrets_key=values["SECRETS_KEY"])


@every_service
def test_a_container_may_do_as_little_as_possible(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service and "network_mode" not in service and "pid" not in service


@every_service
def test_a_container_has_limits(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["pids_limit"] <= 1024
    assert service["logging"]["options"]["max-size"]
    assert service["restart"] == ("on-failure" if name == "topics" else "unless-stopped")


@every_service
def test_an_image_has_one_version(name: str) -> None:
    tag = SERVICES[name]["image"].rpartition(":")[2]
    assert re.search(r"\d", tag), "latest, or none, is another image tomorrow"


def test_the_image_has_the_version_of_the_package_and_is_built_once() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    own = {name for name, service in SERVICES.items() if service["image"] == f"tallymark:{version}"}
    assert own == {*STAGES, "api", "topics"}
    assert [name for name in SERVICES if "build" in SERVICES[name]] == ["topics"]


def test_a_stage_with_one_partition_has_one_worker() -> None:
    single = {stage for stage in STAGES if SERVICES[stage]["deploy"]["replicas"] == 1}
    assert single == SINGLE


def test_four_services_have_data() -> None:
    volumes = {
        name: [volume.split(":")[0] for volume in service.get("volumes", ()) if not volume.startswith("./")]
        for name, service in SERVICES.items()
    }
    assert {name for name, found in volumes.items() if set(found) - {"state"}} == STATEFUL
    assert {one for found in volumes.values() for one in found} == set(yaml.safe_load(COMPOSE)["volumes"])


def test_files_that_are_mounted_exist() -> None:
    mounted = [v.split(":")[0] for s in SERVICES.values() for v in s.get("volumes", ()) if v.startswith("./")]
    assert [path for path in mounted if not (ROOT / path).exists()] == []
    assert all(v.endswith(":ro") for s in SERVICES.values() for v in s.get("volumes", ()) if v[0] == ".")


def published(**variables: str) -> dict[str, list[str]]:
    """The published ports, of each service that has some."""
    found = services(**variables)
    return {name: found[name]["ports"] for name in found if found[name].get("ports")}


def test_each_published_port_is_one_variable_on_the_loopback_address() -> None:
    """Kafka and Prometheus require no password."""
    ports = {"kafka": 9092, "api": 8888, "prometheus": 9090, "alertmanager": 9093, "grafana": 3000}
    assert published() == {name: [f"127.0.0.1:{port}:{port}"] for name, port in ports.items()}
    moved = published(**{f"TALLYMARK_{name.upper()}_PORT": str(place) for place, name in enumerate(ports)})
    assert moved == {name: [f"127.0.0.1:{place}:{port}"] for place, (name, port) in enumerate(ports.items())}


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
    assert "set tallymark:probe" in SERVICES["redis"]["healthcheck"]["test"][1]
    assert "127.0.0.1" not in SERVICES["redis"]["healthcheck"]["test"][1], "it is exempt from protected mode"
    assert "SELECT%201" in SERVICES["clickhouse"]["healthcheck"]["test"][1]
    assert r"\0\022" in SERVICES["kafka"]["healthcheck"]["test"][3], "the request ApiVersions"
    assert SERVICES["api"]["environment"]["TALLYMARK_HEALTH_URL"].endswith("/api/v1/ready")
    assert "TALLYMARK_HEALTH_URL=http://127.0.0.1:9100/ready" in DOCKERFILE
    assert "tallymark-healthy" in DOCKERFILE.partition("HEALTHCHECK")[2]


def test_health_starts_no_interpreter() -> None:
    """It runs all the time in every container."""
    commands = [
        " ".join(one["healthcheck"].get("test", ())) for one in SERVICES.values() if "healthcheck" in one
    ]
    commands.append(DOCKERFILE.partition("HEALTHCHECK")[2].partition("\n")[0])
    programs = re.compile(r"\b(python|java|tallymark |clickhouse-client|kafka-\w+\.sh)")
    assert len(commands) == 5
    assert [command for command in commands if programs.search(command)] == []


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_health_prints_the_error_of_what_does_not_answer(status: int, code: int) -> None:
    body = b'{"needs": {"redis": "DENIED, says Redis"}}\n'

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/ready" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        done = healthy(f"http://127.0.0.1:{server.server_port}/ready")
    assert (done.returncode, done.stdout) == (code, body.decode())


def test_health_of_a_process_that_does_not_listen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = healthy(f"http://127.0.0.1:{port}/ready")
    assert done.returncode == 1 and "Connection refused" in done.stderr


def healthy(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HEALTHY], env={"TALLYMARK_HEALTH_URL": url}, capture_output=True, text=True, check=False, timeout=30
    )


def test_the_image_does_not_run_as_root() -> None:
    assert "USER 10001:10001" in DOCKERFILE
    assert str(Settings.model_construct().api_port) in DOCKERFILE


def test_the_image_has_what_a_pdf_needs() -> None:
    assert '"optional-dependencies"]["pdf"]' in DOCKERFILE
    assert "libpango-1.0-0 libpangoft2-1.0-0" in DOCKERFILE
