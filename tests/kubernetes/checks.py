"""The steps of `tests/kubernetes/run`: what the chart makes, on a real API server.

Owns: the steps and what must hold after each. Does not own: the server (run), its commands (cluster).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.chart_renders import CHART, RELEASE, Resource
from tests.fixtures.patience import until
from tests.kubernetes.admission import pods_of, violations
from tests.kubernetes.cluster import FAILED, JOB, Cluster, Refused

EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
NEXT = (
    "--set", "image.tag=0.2.0", "--set", "stages.dedupe.replicas=4,stages.dedupe.maxReplicas=4",
    "--set", "stages.sink.replicas=3,stages.sink.maxReplicas=4", "--set", "settings.max_event_bytes=65536",
)  # fmt: skip
OF_THE_SERVER = ("resourceVersion", "generation", "managedFields", "uid", "creationTimestamp", "annotations")
Objects = dict[tuple[str, str], Resource]


def main() -> None:
    cluster = Cluster(Path(sys.argv[1]))
    _step("the definitions of custom resources", partial(_define, cluster, Path(sys.argv[1])))
    _step("misspelt fields are refused", partial(_misspelt, cluster))
    for path in [None, *EXAMPLES]:
        name = "default" if path is None else path.stem
        values = () if path is None else ("-f", str(path))
        _release(cluster, name, values)
    _step("a failed job of topics: nothing is installed", partial(_failed_hook, cluster))
    _step("another size of a volume is refused; a rollback repairs", partial(_other_volume, cluster))
    _step("more workers than partitions are refused", partial(_too_many, cluster))


def _step(name: str, act: Callable[[], object]) -> None:
    began_s = time.monotonic()
    act()
    print(f"{time.monotonic() - began_s:4.0f} s  {name}")


def _define(cluster: Cluster, work: Path) -> None:
    cluster.kubectl("create", "-f", str(work / "definitions.json"))
    until(partial(_are_served, cluster))


def _are_served(cluster: Cluster) -> bool:
    """Whether each definition is established, and its kind can be asked for."""
    found = json.loads(cluster.kubectl("get", "crd", "-o", "json"))["items"]
    reached = [
        {one["type"]: one["status"] for one in crd.get("status", {}).get("conditions") or []} for crd in found
    ]
    if not all(one.get("Established") == "True" for one in reached):
        return False
    try:
        return bool(
            cluster.kubectl("get", ",".join(crd["metadata"]["name"] for crd in found), "-A", "-o", "json")
        )
    except Refused:
        return False


def _misspelt(cluster: Cluster) -> None:
    """Plants a field that no schema has, in objects of Kubernetes and of each operator."""
    text = cluster.rendered("default", "-f", str(CHART / "examples/production-keda.yaml"))
    documents = [one for one in yaml.safe_load_all(text) if one]
    for kind in (
        "Deployment",
        "StatefulSet",
        "NetworkPolicy",
        "ScaledObject",
        "ServiceMonitor",
        "PrometheusRule",
    ):
        wrong = next(one for one in documents if one["kind"] == kind)
        wrong["spec"]["misspelt"] = 1
        _refused("misspelt", partial(_dry_run, cluster, "default", json.dumps(wrong)))


def _release(cluster: Cluster, name: str, values: tuple[str, ...]) -> None:
    """The life of a release with one file of values."""
    namespace = f"tallymark-{name}"
    cluster.namespace(namespace)
    text = cluster.rendered(namespace, *values)
    expected = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text) if one}
    states: list[Objects] = []

    def see() -> Objects:
        states.append(_own(cluster.holds(namespace)))
        return states[-1]

    def install() -> None:
        cluster.release(
            namespace, "install", RELEASE, str(CHART), *values, during=lambda: _only_job(cluster, namespace)
        )

    def upgrade() -> None:
        cluster.release(namespace, "upgrade", RELEASE, str(CHART), *values, *NEXT)

    def leaves_nothing() -> None:
        cluster.helm("uninstall", RELEASE, "-n", namespace)
        left = cluster.holds(namespace)
        assert not left, f"uninstall leaves {sorted(left)}"

    _step(f"{name}: dry run of {len(expected)} objects", partial(_dry_run, cluster, namespace, text))
    _step(f"{name}: install, topics first", install)
    _step(f"{name}: the server has what was sent", lambda: _same(see(), expected))
    _step(
        f"{name}: a pod of each template is admitted, and nothing less restricted",
        partial(_admitted, cluster, namespace, expected),
    )
    _step(f"{name}: upgrade", upgrade)
    _step(f"{name}: the server has the other replicas, image and setting", lambda: _changed(states[0], see()))
    _step(f"{name}: rollback", lambda: cluster.helm("rollback", RELEASE, "1", "-n", namespace))
    _step(f"{name}: the server has what it had before", lambda: _equal(states[0], see()))
    _step(f"{name}: uninstall leaves nothing", leaves_nothing)


def _dry_run(cluster: Cluster, namespace: str, text: str) -> None:
    cluster.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-n", namespace, "-f", "-", given=text
    )  # fmt: skip


def _only_job(cluster: Cluster, namespace: str) -> None:
    kinds = {kind for kind, _ in _own(cluster.holds(namespace))}
    assert kinds == {"Job"}, f"while the topics are created there are already {kinds}"


def _own(objects: Objects) -> Objects:
    """Without Helm's record of the release."""
    return {key: one for key, one in objects.items() if one.get("type") != "helm.sh/release.v1"}


def _same(found: Objects, expected: Objects) -> None:
    """Each field that was sent is there with its value; the server adds its defaults."""
    wanted = {key: one for key, one in expected.items() if key[0] != "Job"}
    assert found.keys() == wanted.keys(), f"{found.keys() ^ wanted.keys()}"
    lost = [f"{key}{where}" for key, one in wanted.items() for where in _lost(one, found[key])]
    assert not lost, lost


def _lost(sent: Any, found: Any, where: str = "") -> list[str]:
    """The paths at which the server has something else."""
    if isinstance(sent, dict) and isinstance(found, dict):
        empty = [name for name in sent if name not in found and sent[name] not in ({}, [], "", None)]
        inner = [
            path
            for name in sent
            if name in found
            for path in _lost(sent[name], found[name], f"{where}.{name}")
        ]
        return [f"{where}.{name} is lost" for name in empty] + inner
    if isinstance(sent, list) and isinstance(found, list) and len(sent) == len(found):
        return [
            path
            for at, pair in enumerate(zip(sent, found, strict=True))
            for path in _lost(*pair, f"{where}[{at}]")
        ]
    return [] if sent == found else [f"{where} is {found!r}, not {sent!r}"]


def _admitted(cluster: Cluster, namespace: str, expected: Objects) -> None:
    pods = pods_of(expected.values())
    cluster.kubectl(
        "create", "-n", namespace, "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": pods}
    )
    try:
        found = {name for kind, name in cluster.holds(namespace) if kind == "Pod"}
        assert found == {pod["metadata"]["name"] for pod in pods}
        for reason, pod in violations(pods[0]).items():
            create = partial(cluster.kubectl, "create", "-n", namespace, "-f", "-", given=pod)
            _refused('violates PodSecurity "restricted', create, reason)
    finally:
        cluster.kubectl("delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")


def _changed(before: Objects, after: Objects) -> None:
    assert before.keys() == after.keys()
    for (kind, name), one in after.items():
        if kind not in ("Deployment", "StatefulSet"):
            continue
        template, old = one["spec"]["template"], before[kind, name]["spec"]["template"]
        assert template["spec"]["containers"][0]["image"].endswith(":0.2.0"), name
        sums = [each["metadata"]["annotations"]["checksum/config"] for each in (template, old)]
        assert sums[0] != sums[1], f"{name} would not start again with the other setting"
        assert one["metadata"]["uid"] == before[kind, name]["metadata"]["uid"], f"{name} is another object"
    for stage, replicas in (("dedupe", 4), ("sink", 3)):
        (kind,) = (
            kind
            for kind, name in after
            if name == f"{RELEASE}-{stage}" and kind in ("Deployment", "StatefulSet")
        )
        scalers = {"ScaledObject": "minReplicaCount", "HorizontalPodAutoscaler": "minReplicas"}
        scaled = [after[which, f"{RELEASE}-{stage}"]["spec"][field] for which, field in scalers.items()
                  if (which, f"{RELEASE}-{stage}") in after]  # fmt: skip
        assert (scaled or [after[kind, f"{RELEASE}-{stage}"]["spec"]["replicas"]]) == [replicas], stage


def _equal(before: Objects, after: Objects) -> None:
    assert before.keys() == after.keys(), f"{before.keys() ^ after.keys()}"
    for key, one in before.items():
        assert _content(one) == _content(after[key]), (
            f"{key} differs: {_lost(_content(one), _content(after[key]))}"
        )


def _content(one: Resource) -> Resource:
    metadata = {name: value for name, value in one["metadata"].items() if name not in OF_THE_SERVER}
    return {**{name: value for name, value in one.items() if name != "status"}, "metadata": metadata}


def _failed_hook(cluster: Cluster) -> None:
    namespace = "tallymark-failed"
    cluster.namespace(namespace)
    install = partial(cluster.release, namespace, "install", RELEASE, str(CHART), job=FAILED)
    _refused("pre-install", install)
    assert _own(cluster.holds(namespace)).keys() == {("Job", JOB)}, (
        "the job stays for its log, and nothing else"
    )
    cluster.release(namespace, "upgrade", "--install", RELEASE, str(CHART))
    assert ("Deployment", f"{RELEASE}-api") in cluster.holds(namespace)
    cluster.helm("uninstall", RELEASE, "-n", namespace)
    assert not cluster.holds(namespace)


def _other_volume(cluster: Cluster) -> None:
    namespace = "tallymark-volume"
    cluster.namespace(namespace)
    cluster.release(namespace, "install", RELEASE, str(CHART))
    before = _own(cluster.holds(namespace))
    upgrade = partial(
        cluster.release, namespace, "upgrade", RELEASE, str(CHART), "--set", "stages.dedupe.storage=30Gi"
    )
    _refused("updates to statefulset spec", upgrade)
    cluster.helm("rollback", RELEASE, "1", "-n", namespace)
    _equal(before, _own(cluster.holds(namespace)))


def _too_many(cluster: Cluster) -> None:
    wrong = ("--set", "stages.alert.replicas=13,stages.alert.maxReplicas=13")
    _refused(
        "stages.alert has more workers than settings.partitions", partial(cluster.rendered, "default", *wrong)
    )


def _refused(reason: str, act: Callable[[], object], *more: str) -> None:
    try:
        act()
    except Refused as refusal:
        missing = [one for one in (reason, *more) if one not in str(refusal)]
        assert not missing, f"it was refused for another reason than {missing}: {refusal}"
        return
    raise AssertionError(f"it was accepted, where a refusal for {(reason, *more)} was planted")


if __name__ == "__main__":
    main()
