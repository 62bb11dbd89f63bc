"""The Helm chart: every stage has its workload, what it renders is valid and restricted, wrong values are refused.

It is not installed here: pods, scaling and network policies need a cluster.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pipeline.settings import Settings, unknown_variables
from pipeline.stages import SINGLE, STAGES, STATELESS
from pipeline.stores.kafka.consumer_groups import group_of
from tests.deploy import chart_renders
from tests.deploy.chart_renders import CHART, RELEASE, Resource, of_kind, pods, rendered

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
    "small": {
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
}


@cache
def found_of(name: str) -> list[Resource]:
    """What the chart makes of one of the VALUES."""
    return rendered(VALUES[name])


@pytest.fixture(params=VALUES)
def found(request: pytest.FixtureRequest) -> list[Resource]:
    """What the chart makes of each of the VALUES."""
    return found_of(request.param)


def variables(template: Resource) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in template["spec"]["containers"][0]["env"]}


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
    assert of_kind(found_of("small"), "StatefulSet") == {}


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
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        assert all(set(volume) == {"name", "emptyDir"} for volume in volumes.values())


def test_every_variable_is_a_setting_and_no_secret_is_a_value(found: list[Resource]) -> None:
    secret = {f"TALLYMARK_{name.upper()}" for name in schema()["secrets"]["propertyNames"]["enum"]}
    for template in pods(found).values():
        assert unknown_variables(variables(template)) == []
        for one in template["spec"]["containers"][0]["env"]:
            assert ("valueFrom" in one) == (one["name"] in secret)


def test_numbers_arrive_as_they_are_written() -> None:
    env = variables(pods(found_of("small"))[f"{RELEASE}-dedupe"])
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
        assert budgets[name]["spec"] == {"maxUnavailable": 1, "selector": {"matchLabels": selector}}
        for constraint in one["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert constraint["labelSelector"] == {"matchLabels": selector}


def test_probes_ask_what_the_images_serve() -> None:
    for name, template in pods(found_of("defaults")).items():
        (container,) = template["spec"]["containers"]
        if "readinessProbe" not in container:
            assert name == f"{RELEASE}-topics"
            continue
        path = "/api/v1/ready" if name.endswith("-api") else "/ready"
        assert container["readinessProbe"]["httpGet"]["path"] == path
        (port,) = container["ports"]
        assert container["readinessProbe"]["httpGet"]["port"] == port["name"]
        assert variables(template)["TALLYMARK_METRICS_PORT"] == "9100"


def test_topics_are_applied_before_workers_start() -> None:
    (job,) = of_kind(found_of("defaults"), "Job").values()
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["topics", "apply"]
    assert of_kind(found_of("small"), "Job") == {}


def test_only_those_that_send_to_others_reach_the_internet() -> None:
    policies = of_kind(found_of("defaults"), "NetworkPolicy")
    open_ = {name for name, one in policies.items() if "0.0.0.0/0" in str(one)}
    assert open_ == {f"{RELEASE}-{name}-internet" for name in ("webhook", "stripe-sync", "api")}
    for name in open_:
        (rule,) = policies[name]["spec"]["egress"]
        assert rule["ports"] == [{"port": 443}] and "169.254.0.0/16" in rule["to"][0]["ipBlock"]["except"]
    assert not any("0.0.0.0/0" in str(one) for one in found_of("secrets"))
    (rule,) = of_kind(found_of("secrets"), "NetworkPolicy")[f"{RELEASE}-api"]["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app": "gateway"}}}]


def test_the_monitor_gives_the_labels_that_alerts_ask_for() -> None:
    (monitor,) = of_kind(found_of("KEDA"), "ServiceMonitor").values()
    service = of_kind(found_of("KEDA"), "Service")[f"{RELEASE}-workers"]
    labels = service["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels[monitor["spec"]["jobLabel"]] == "tallymark"
    assert service["spec"]["publishNotReadyAddresses"], "workers that are not ready are what alerts are about"
    assert monitor["spec"]["endpoints"][0]["relabelings"][0]["targetLabel"] == "stage"
    (rule,) = of_kind(found_of("KEDA"), "PrometheusRule").values()
    assert rule["spec"] == yaml.safe_load((CHART.parents[1] / "alerts.yml").read_text())


def schema() -> dict[str, Any]:
    with helm_python.Chart.load(CHART) as chart:
        found = chart.schema
    document: dict[str, Any] = json.loads(found) if isinstance(found, str | bytes) else found
    return document["properties"]  # type: ignore[no-any-return]


def test_settings_and_secrets_are_all_that_there_are() -> None:
    named = {*schema()["settings"]["propertyNames"]["enum"], *schema()["secrets"]["propertyNames"]["enum"]}
    assert set(Settings.model_fields) - named == {
        "state_dir", "metrics_host", "metrics_port", "api_host", "api_port",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"settings": {"horizon": 1}}, "horizon"),
        ({"settings": {"clickhouse_password": "x"}}, "clickhouse_password"),
        ({"settings": {"state_dir": "/tmp"}}, "state_dir"),
        ({"secrets": {"clickhouse_password": {"name": "x"}}}, "key"),
        ({"stages": {"dedup": {"replicas": 1}}}, "dedup"),
        ({"stages": {"dedupe": {"replicas": -1}}}, "replicas"),
        ({"stages": {"dedupe": {"storage": "20"}}}, "storage"),
        ({"autoscaling": {"by": "lag"}}, "autoscaling"),
        ({"replicas": 3}, "replicas"),
        ({"stages": {"numbering": {"replicas": 2}}}, "stages.numbering has one worker"),
        (
            {"stages": {"dedupe": {"maxReplicas": 13}}},
            "stages.dedupe has more workers than settings.partitions",
        ),
    ],
    ids=str,
)
def test_wrong_values_are_refused_with_their_name(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(helm_python.HelmError, match=re.escape(reason)):
        rendered(values)
