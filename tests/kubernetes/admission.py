"""Pods as a controller would make them of the chart's templates, and pods that must not be admitted.

Owns: making both. Does not own: admission, which is the server's PodSecurity.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from tests.deploy.chart_renders import Resource


def pods_of(objects: Iterable[Resource]) -> list[Resource]:
    """One Pod of each template, with the volumes that a StatefulSet's controller adds."""
    made = []
    for one in objects:
        if one["kind"] not in ("Deployment", "StatefulSet", "Job"):
            continue
        template = copy.deepcopy(one["spec"]["template"])
        name = one["metadata"]["name"]
        template["metadata"] = {
            "name": f"{name}-0",
            **{key: template["metadata"][key] for key in ("labels", "annotations")},
        }
        for claim in one["spec"].get("volumeClaimTemplates", []):
            volume = claim["metadata"]["name"]
            template["spec"].setdefault("volumes", []).append(
                {"name": volume, "persistentVolumeClaim": {"claimName": f"{volume}-{name}-0"}}
            )
        made.append({"apiVersion": "v1", "kind": "Pod", **template})
    return made


def violations(pod: Resource) -> dict[str, Resource]:
    """The pod with one thing that is not restricted, by what the server calls it."""
    return {
        "runAsNonRoot != true": _changed(pod, lambda spec, _: spec["securityContext"].pop("runAsNonRoot")),
        "seccompProfile": _changed(pod, lambda spec, _: spec["securityContext"].pop("seccompProfile")),
        "allowPrivilegeEscalation != false": _changed(
            pod, lambda _, own: own["securityContext"].pop("allowPrivilegeEscalation")
        ),
        "unrestricted capabilities": _changed(pod, lambda _, own: own["securityContext"].pop("capabilities")),
        "hostPort": _changed(pod, lambda _, own: own.update(ports=[{"containerPort": 1, "hostPort": 1}])),
        "host namespaces": _changed(pod, lambda spec, _: spec.update(hostNetwork=True)),
        "restricted volume types": _changed(
            pod, lambda spec, _: spec["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
        ),
    }


def _changed(pod: Resource, change: Any) -> Resource:
    changed = copy.deepcopy(pod)
    changed["metadata"]["name"] = "planted"
    change(changed["spec"], changed["spec"]["containers"][0])
    return changed
