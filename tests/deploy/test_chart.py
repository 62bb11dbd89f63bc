"""The Helm chart: every stage has its workload, what it renders is valid and restricted.

It is not installed here, but by tests/kubernetes: it needs an API server. Which values are refused: test_chart_values.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pipeline.agents import webhook_dispatch
from pipeline.api import server
from pipeline.core.notifications import safe_address
from pipeline.engine import stage as engine
from pipeline.settings import unknown_variables
from pipeline.stages import SINGLE, STAGES, STATELESS
from pipeline.stores.kafka.consumer_groups import group_of
from pipeline.worker import heartbeat
from tests.deploy import chart_renders
from tests.deploy.chart_renders import (
    CHART,
    EXAMPLES,
    RELEASE,
    Resource,
    of_kind,
    pods,
    rendered,
    schema,
    variables,
)

pytestmark = pytest.mark.services  # it takes seconds

helm_python = pytest.importorskip("helm_python", reason="it has a wheel for Linux on x86_64 only")

KUBERNETES = "1.34.0"
MONITORED = {
    "serviceMonitor": {"enabled": True, "labels": {"release": "prom"}},
    "prometheusRule": {"enabled": True},
}
VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "KEDA": {"autoscaling": {"by": "keda", "authenticationRef": "kafka"}, **MONITORED},
    "HPA": {"autoscaling": {"by": "hpa"}, "storageClassName": "fast", "nodeSelector": {"disk": "ssd"}},
    "little": {
        "settings": {"partitions": 1, "redis": "", "horizon_s": 2764800, "session_timeout_s": 2.5},
        "stages": {
            stage: {"replicas": int(stage != "live"), "maxReplicas": 1, "storage": ""} for stage in STAGES
        },
        "api": {"replicas": 1, "service": {"type": "LoadBalancer", "port": 80}},
        "topicsJob": {"enabled": False},
        "networkPolicy": {"enabled": False},
    },
    "secrets": {
        "secrets": {"clickhouse_password": {"name": "clickhouse", "key": "password"}},
        "imagePullSecrets": [{"name": "registry"}],
        "tolerations": [{"key": "billing", "operator": "Exists"}],
        "podAnnotations": {"team": "billing"},
        "priorityClassName": "high",
        "networkPolicy": {"apiFrom": [{"podSelector": {"matchLabels": {"app": "gateway"}}}], "internet": []},
    },
    **EXAMPLES,
}


@cache
def found_of(name: str) -> list[Resource]:
    """What the chart makes of one of the VALUES."""
    return rendered(VALUES[name])


@pytest.fixture(params=VALUES)
def found(request: pytest.FixtureRequest) -> list[Resource]:
    """What the chart makes of each of the VALUES."""
    return found_of(request.param)


def test_each_resource_is_one_that_kubernetes_accepts(found: list[Resource]) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in found]
    assert len(set(names)) == len(names)
    for one in found:
        if one["kind"] in chart_renders.FIELDS:
            assert chart_renders.unknown_fields(one) == []
        else:
            kubernetes_validate.validate(one, KUBERNETES, strict=True)


def test_a_misspelt_field_is_found() -> None:
    (wrong,) = [
        one
        for one in rendered({})
        if one["metadata"]["name"] == f"{RELEASE}-api" and one["kind"] == "Service"
    ]
    wrong["spec"]["portz"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)
    scaled = next(iter(of_kind(rendered(VALUES["KEDA"]), "ScaledObject").values()))
    scaled["spec"]["triggers"][0]["metadata"]["lagTreshold"] = "1"
    assert chart_renders.unknown_fields(scaled) == ["spec.triggers.metadata.lagTreshold"]


def test_helm_has_nothing_to_say_but_that_there_is_no_icon() -> None:
    result = helm_python.lint(CHART, strict=True)
    assert [one["error"] for one in result["messages"]] == ["icon is recommended"] and not result["errors"]


def test_every_stage_has_its_workload(found: list[Resource]) -> None:
    workers = {
        name: template["spec"]["containers"][0]["args"]
        for name, template in pods(found).items()
        if "tallymark.dev/worker" in template["metadata"]["labels"]
    }
    assert workers == {f"{RELEASE}-{stage}": ["worker", stage] for stage in STAGES}


def test_a_stage_with_state_keeps_it_on_a_volume() -> None:
    keeping = {name.removeprefix(f"{RELEASE}-") for name in of_kind(found_of("defaults"), "StatefulSet")}
    assert keeping == set(STAGES) - STATELESS - {"ingest"}  # ingest has positions only
    assert of_kind(found_of("little"), "StatefulSet") == {}


def test_every_pod_satisfies_the_restricted_standard(found: list[Resource]) -> None:
    for template in pods(found).values():
        spec = template["spec"]
        (container,) = spec["containers"]
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert spec["automountServiceAccountToken"] is False and container["resources"]["limits"]["memory"]
        for volume in spec["volumes"]:
            assert set(volume) == {"name", "projected" if volume["name"] == "files" else "emptyDir"}


def test_every_variable_is_a_setting_and_no_secret_is_a_value(found: list[Resource]) -> None:
    secret = {f"TALLYMARK_{name.upper()}" for name in schema()["secrets"]["propertyNames"]["enum"]}
    for template in pods(found).values():
        assert "checksum/config" in template["metadata"]["annotations"]
        assert unknown_variables(variables(template)) == []
        for one in template["spec"]["containers"][0]["env"]:
            assert ("valueFrom" in one) == (one["name"] in secret)


def test_numbers_arrive_as_they_are_written() -> None:
    env = variables(pods(found_of("little"))[f"{RELEASE}-dedupe"])
    assert (env["TALLYMARK_HORIZON_S"], env["TALLYMARK_SESSION_TIMEOUT_S"]) == ("2764800", "2.5")
    assert (env["TALLYMARK_REDIS"], env["TALLYMARK_PARTITIONS"]) == ("", "1")


def test_keda_and_hpa_scale_each_stage_that_can_have_more_workers() -> None:
    scaled = {f"{RELEASE}-{stage}" for stage in STAGES if stage not in SINGLE}
    by_lag = of_kind(found_of("KEDA"), "ScaledObject")
    by_cpu = of_kind(found_of("HPA"), "HorizontalPodAutoscaler")
    assert by_lag.keys() == by_cpu.keys() == scaled
    for name, one in by_lag.items():
        (trigger,) = one["spec"]["triggers"]
        assert trigger["metadata"]["consumerGroup"] == group_of(name.removeprefix(f"{RELEASE}-"))
        assert trigger["authenticationRef"] == {"name": "kafka"}
    for resources, scalers in ((found_of("KEDA"), by_lag), (found_of("HPA"), by_cpu)):
        workloads = of_kind(resources, "Deployment", "StatefulSet")
        for name, scaler in scalers.items():
            assert scaler["spec"]["scaleTargetRef"]["kind"] == workloads[name]["kind"]
            assert "replicas" not in workloads[name]["spec"], "an upgrade would undo the scaling"
    assert of_kind(found_of("defaults"), "ScaledObject", "HorizontalPodAutoscaler") == {}


def test_a_disruption_takes_one_worker_at_a_time_and_selectors_fit(found: list[Resource]) -> None:
    budgets, workloads = of_kind(found, "PodDisruptionBudget"), of_kind(found, "Deployment", "StatefulSet")
    assert budgets.keys() == workloads.keys()
    for name, one in workloads.items():
        labels, selector = (
            one["spec"]["template"]["metadata"]["labels"],
            one["spec"]["selector"]["matchLabels"],
        )
        assert selector.items() <= labels.items()
        assert budgets[name]["spec"] == {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector},
        }
        for constraint in one["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert constraint["labelSelector"] == {"matchLabels": selector}


def test_probes_ask_what_the_images_serve() -> None:
    for name, template in pods(found_of("defaults")).items():
        (container,) = template["spec"]["containers"]
        if "readinessProbe" not in container:
            assert name == f"{RELEASE}-topics"
            continue
        is_api = name.endswith("-api")
        port = container["ports"][0]
        assert {"name": "metrics", "containerPort": 9100} in container["ports"]
        for probe, path in (
            ("readinessProbe", "/api/v1/ready" if is_api else "/ready"),
            ("startupProbe", "/api/v1/healthz" if is_api else "/alive"),
            ("livenessProbe", "/api/v1/healthz" if is_api else "/alive"),
        ):
            assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}
        assert variables(template)["TALLYMARK_METRICS_PORT"] == "9100"


def test_a_process_has_the_time_that_it_takes_to_stop() -> None:
    worker_s = engine.COMMITTED_S + webhook_dispatch.LEAVING_S + 2 * heartbeat.STOP_S
    for name, template in pods(found_of("defaults")).items():
        if name.endswith("-topics"):
            continue
        needed_s = 5 + server.GRACE_S + 5 if name.endswith("-api") else worker_s
        assert template["spec"]["terminationGracePeriodSeconds"] >= 2 * needed_s


def test_topics_are_applied_before_workers_start() -> None:
    (job,) = of_kind(found_of("defaults"), "Job").values()
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["topics", "apply"]
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never", "a pod that failed keeps its log"
    assert of_kind(found_of("little"), "Job") == {}


def egress(found: list[Resource], component: str) -> list[Resource]:
    """The rules of egress of all policies that select the pods of a stage or of the API."""
    labels = pods(found)[f"{RELEASE}-{component}"]["metadata"]["labels"]
    rules = []
    for one in of_kind(found, "NetworkPolicy").values():
        selector = one["spec"]["podSelector"]
        (expression,) = selector.get("matchExpressions", [{"key": "", "values": [None]}])
        if (
            selector["matchLabels"].items() <= labels.items()
            and labels.get(expression["key"]) in expression["values"]
        ):
            rules += one["spec"].get("egress", [])
    return rules


def ports(found: list[Resource], component: str) -> set[int]:
    return {port["port"] for rule in egress(found, component) for port in rule["ports"]}


def test_pods_reach_what_they_use_and_nothing_else() -> None:
    kafka, clickhouse, redis = {53, 9093}, {8443}, {6379}
    used = {
        "ingest": kafka, "dedupe": kafka, "aggregate": kafka, "control": kafka, "attribute": kafka, "numbering": kafka,
        "topics": kafka, "sink": kafka | clickhouse, "backfill": kafka | clickhouse, "alert": kafka | clickhouse,
        "billing": kafka | clickhouse, "live": kafka | redis, "webhook": kafka | {443, 8443},
        "stripe-sync": kafka | clickhouse | {443}, "api": kafka | clickhouse | redis | {443},
    }  # fmt: skip
    assert used.keys() == {*STAGES, "topics", "api"}
    for component, expected in used.items():
        assert ports(found_of("defaults"), component) == expected, component
    assert ports(found_of("mtls"), "dedupe") == {53, 9094}
    assert ports(found_of("mtls"), "webhook") == {53, 9094, 80, 443, 8080, 8443}, "http is allowed there"
    assert ports(found_of("production-keda"), "live") == {53, 9093, 6380}
    assert ports(found_of("small"), "sink") == {53, 9092, 8123}


def test_a_destination_is_limited_where_it_is_known() -> None:
    found = found_of("production-keda")
    for component, rule in ((one, rule) for one in (*STAGES, "api") for rule in egress(found, one)):
        assert rule.get("to"), f"{component} may connect to any address at {rule['ports']}"


def test_only_those_that_send_to_others_reach_public_addresses() -> None:
    policies = of_kind(found_of("defaults"), "NetworkPolicy")
    open_ = {name for name, one in policies.items() if "0.0.0.0/0" in str(one)}
    assert open_ == {f"{RELEASE}-{name}-internet" for name in ("webhook", "stripe-sync", "api")}
    refused = [[str(net) for net, _ in nets] for nets in (safe_address._REFUSED_4, safe_address._REFUSED_6)]
    for name in open_:
        (rule,) = policies[name]["spec"]["egress"]
        four, six = (peer["ipBlock"] for peer in rule["to"])
        assert six["cidr"] == str(safe_address._GLOBAL_6)
        assert [set(four["except"]), set(six["except"])] == [set(nets) for nets in refused]
    assert not any("0.0.0.0/0" in str(one) for one in found_of("secrets"))
    rule, scraped = of_kind(found_of("secrets"), "NetworkPolicy")[f"{RELEASE}-api"]["spec"]["ingress"]
    assert scraped["ports"] == [{"port": "metrics"}] and "monitoring" in str(scraped["from"])
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app": "gateway"}}}]
    balanced = rendered({"api": {"service": {"type": "LoadBalancer"}}})
    rule, _ = of_kind(balanced, "NetworkPolicy")[f"{RELEASE}-api"]["spec"]["ingress"]
    assert rule == {"ports": [{"port": "http"}]}, "a load balancer is no pod"


def test_the_monitor_gives_the_labels_that_alerts_ask_for() -> None:
    monitor, of_api = (
        of_kind(found_of("KEDA"), "ServiceMonitor")[name] for name in (RELEASE, f"{RELEASE}-api")
    )
    service = of_kind(found_of("KEDA"), "Service")[f"{RELEASE}-workers"]
    api = of_kind(found_of("KEDA"), "Service")[f"{RELEASE}-api-metrics"]
    assert of_api["spec"]["selector"]["matchLabels"].items() <= api["metadata"]["labels"].items()
    assert of_api["spec"]["endpoints"][0]["relabelings"] == [
        {"targetLabel": "job", "replacement": "tallymark-api"}
    ]
    assert api["spec"]["publishNotReadyAddresses"]
    labels = service["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels[monitor["spec"]["jobLabel"]] == "tallymark"
    assert service["spec"]["publishNotReadyAddresses"], "workers that are not ready are what alerts are about"
    assert monitor["spec"]["endpoints"][0]["relabelings"][0]["targetLabel"] == "stage"
    (rule,) = of_kind(found_of("KEDA"), "PrometheusRule").values()
    assert rule["spec"] == yaml.safe_load((CHART.parents[1] / "alerts.yml").read_text())
