"""What the containers may do, and that the programs beside Tallymark read their files.

Owns: the rights of processes as the kernel shows them, health, Prometheus, Grafana's files. Does not own: the alert
that is posted (alerting), what docker-compose.yml must contain (tests/test_deploy.py).
"""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from pipeline.stages import STAGES
from tests.containers.compose import Failed, containers, inspected, run_in, service_of, wait_for


def check() -> None:
    """Raises Failed with what a container may do that it must not, or what does not work."""
    found = inspected(containers())
    if wrong := [f"{service_of(one)}: {what}" for one in found for what in rights(one)]:
        raise Failed("; ".join(wrong))
    run_in("api", "touch", "/usr/owned", expect=1)
    wait_for("every container is healthy", lambda: not unhealthy())
    wait_for("Prometheus scrapes every worker and the API, and knows Alertmanager", prometheus_works)
    grafana = ask("GRAFANA", "api/health")
    if "version" not in grafana and grafana.get("datasources") != ["prometheus", "clickhouse"]:
        raise Failed(f"the stand-in for Grafana finds {grafana}")


def rights(container: dict[str, Any]) -> list[str]:
    """What a container may do that it must not."""
    status = Path(f"/proc/{container['State']['Pid']}/status").read_text()
    of = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    host = container["HostConfig"]
    wrong = {
        "it runs as root": of["Uid"].split()[0] == "0",
        f"it has the capabilities {of['CapEff']}": int(of["CapEff"], 16) != 0,
        "it may gain privileges": of["NoNewPrivs"] != "1",
        "its files can be changed": not host["ReadonlyRootfs"],
        "its memory has no limit": host["Memory"] == 0,
        "its log has no limit": "max-size" not in host["LogConfig"]["Config"],
    }
    return [what for what, is_so in wrong.items() if is_so]


def unhealthy() -> list[str]:
    """The services whose containers are not healthy, of those that have a check."""
    states = [(service_of(one), one["State"].get("Health")) for one in inspected(containers())]
    return [service for service, health in states if health and health["Status"] != "healthy"]


def prometheus_works() -> bool:
    targets = ask("PROMETHEUS", "api/v1/targets")["data"]["activeTargets"]
    managers = ask("PROMETHEUS", "api/v1/alertmanagers")["data"]["activeAlertmanagers"]
    rules = ask("PROMETHEUS", "api/v1/rules")["data"]["groups"]
    labels = [one["labels"] for one in targets if one["health"] == "up"]
    stages = {one["stage"] for one in labels if one["job"] == "tallymark"}
    counted = ask("PROMETHEUS", "api/v1/query?query=tallymark_unexplained_lines_total")["data"]["result"]
    return (
        stages == set(STAGES)
        and len(labels) == len(targets)
        and [one["value"][1] for one in counted] == ["0"]
        and bool(managers and rules)
    )


def ask(service: str, path: str) -> Any:
    """The JSON of a service that is published on the host."""
    address = f"http://127.0.0.1:{os.environ[f'TALLYMARK_{service}_PORT']}/{path}"
    with urllib.request.urlopen(address, timeout=10) as answer:
        return json.loads(answer.read())
