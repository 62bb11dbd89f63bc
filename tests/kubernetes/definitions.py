"""Writes the CustomResourceDefinitions of the chart's custom resources, with the schemas of their operators.

Owns: turning the models of the packages cloudcoil-models-keda and cloudcoil-models-prometheus-operator, which are made
of the operators' own definitions, into schemas that the API server enforces: a field that is not in them is refused.
Does not own: installing them. Runs with the Python of these packages.
"""

from __future__ import annotations

import json
from typing import Any

from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as prometheus

KINDS = (
    (keda.ScaledObject, "keda.sh", "v1alpha1", "scaledobjects"),
    (prometheus.ServiceMonitor, "monitoring.coreos.com", "v1", "servicemonitors"),
    (prometheus.PrometheusRule, "monitoring.coreos.com", "v1", "prometheusrules"),
)
KEPT = ("enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "format")


def structural(schema: dict[str, Any], defined: dict[str, Any]) -> dict[str, Any]:
    """A schema of pydantic as a structural schema: without references, null, titles and defaults."""
    if "$ref" in schema:
        return structural(defined[schema["$ref"].rpartition("/")[2]], defined)
    if "anyOf" in schema:
        return _choice([one for one in schema["anyOf"] if one.get("type") != "null"], defined)
    if "const" in schema:
        return {"type": "string", "enum": [schema["const"]]}
    kind = schema.get("type", "object")
    made: dict[str, Any] = {"type": kind} | {name: schema[name] for name in KEPT if name in schema}
    if kind == "array":
        made["items"] = structural(schema["items"], defined)
    elif kind == "object" and "properties" in schema:
        made["properties"] = {name: structural(one, defined) for name, one in schema["properties"].items()}
        if needed := schema.get("required"):
            made["required"] = needed
    elif kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        made["additionalProperties"] = structural(schema["additionalProperties"], defined)
    elif kind == "object":
        made["x-kubernetes-preserve-unknown-fields"] = True
    return made


def _choice(choices: list[dict[str, Any]], defined: dict[str, Any]) -> dict[str, Any]:
    made = [structural(one, defined) for one in choices]
    if len(made) == 1:
        return made[0]
    if {one.get("type") for one in made} == {"string", "integer"}:
        return {"x-kubernetes-int-or-string": True}
    raise SystemExit(f"there is no structural schema for {choices}")


def definition(model: Any, group: str, version: str, plural: str) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    whole = model.model_json_schema(by_alias=True)
    kind = model.__name__
    schema = structural(whole, whole.get("$defs", {})) | {"required": ["spec"]}
    schema["properties"]["metadata"] = {"type": "object"}  # the server knows its fields
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [
                {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }


if __name__ == "__main__":
    print(json.dumps({"apiVersion": "v1", "kind": "List", "items": [definition(*one) for one in KINDS]}))
