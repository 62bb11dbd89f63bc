"""Renders the Helm chart, and knows the fields of resources whose schemas are not Kubernetes' own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "deploy/helm/tallymark"
RELEASE, NAMESPACE = "meters", "billing"
Resource = dict[str, Any]
EXAMPLES: dict[str, dict[str, Any]] = {
    path.stem: yaml.safe_load(path.read_text()) for path in sorted((CHART / "examples").glob("*.yaml"))
}

# What KEDA 2.16 and the Prometheus operator 0.75 accept at these paths, as far as the chart may use it.
FIELDS: dict[str, dict[str, set[str]]] = {
    "ScaledObject": {
        "spec": {
            "scaleTargetRef", "pollingInterval", "cooldownPeriod", "initialCooldownPeriod", "idleReplicaCount",
            "minReplicaCount", "maxReplicaCount", "advanced", "triggers", "fallback",
        },
        "spec.scaleTargetRef": {"apiVersion", "kind", "name", "envSourceContainerName"},
        "spec.triggers": {"type", "name", "metadata", "authenticationRef", "useCachedMetrics", "metricType"},
        "spec.triggers.metadata": {
            "bootstrapServers", "consumerGroup", "topic", "lagThreshold", "activationLagThreshold", "offsetResetPolicy",
            "allowIdleConsumers", "scaleToZeroOnInvalidOffset", "version", "partitionLimitation", "sasl", "tls",
        },
        "spec.triggers.authenticationRef": {"name", "kind"},
    },
    "ServiceMonitor": {
        "spec": {"jobLabel", "targetLabels", "podTargetLabels", "selector", "namespaceSelector", "endpoints"},
        "spec.selector": {"matchLabels", "matchExpressions"},
        "spec.endpoints": {"port", "path", "interval", "scrapeTimeout", "scheme", "honorLabels", "relabelings"},
        "spec.endpoints.relabelings": {"sourceLabels", "targetLabel", "regex", "replacement", "action", "separator"},
    },
    "PrometheusRule": {
        "spec": {"groups"},
        "spec.groups": {"name", "interval", "rules", "limit"},
        "spec.groups.rules": {"alert", "expr", "for", "labels", "annotations"},
    },
}  # fmt: skip


def rendered(values: dict[str, Any] | None = None) -> list[Resource]:
    """The resources that the chart makes of these values. Raises HelmError where it refuses them."""
    from helm_python import Chart

    with Chart.load(CHART) as chart:
        chart.validate_schema(chart.merge_values(values or {}))
        texts = chart.render(values or {}, name=RELEASE, namespace=NAMESPACE)
    return [
        document
        for name, text in texts.items()
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]


def of_kind(found: list[Resource], *kinds: str) -> dict[str, Resource]:
    """The resources of some kinds, by name."""
    return {one["metadata"]["name"]: one for one in found if one["kind"] in kinds}


def pods(found: list[Resource]) -> dict[str, Resource]:
    """The pod template of each workload, by name."""
    workloads = of_kind(found, "Deployment", "StatefulSet", "Job")
    return {name: one["spec"]["template"] for name, one in workloads.items()}


def variables(template: Resource) -> dict[str, str]:
    """The variables of a pod's container that have a value."""
    return {one["name"]: one.get("value", "") for one in template["spec"]["containers"][0]["env"]}


def schema() -> dict[str, Any]:
    """The schema of each value."""
    document: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return document["properties"]  # type: ignore[no-any-return]


def unknown_fields(resource: Resource) -> list[str]:
    """Fields of a custom resource that its operator does not have."""
    found = []
    for path, allowed in FIELDS[resource["kind"]].items():
        for part in _at(resource, path.split(".")):
            found += [f"{path}.{name}" for name in part if name not in allowed]
    return found


def _at(part: Any, path: list[str]) -> list[dict[str, Any]]:
    if isinstance(part, list):
        return [found for one in part for found in _at(one, path)]
    if not path:
        return [part]
    return _at(part[path[0]], path[1:]) if path[0] in part else []
