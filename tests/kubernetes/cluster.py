"""Commands of kubectl and helm on the API server of a run.

Owns: running them, namespaces in which only restricted pods are admitted, what a namespace holds, and the part of the
controller of Jobs for which Helm waits. Does not own: the steps (checks).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.deploy.chart_renders import CHART, RELEASE, Resource
from tests.fixtures.patience import until

WAIT_S = 300
ENFORCED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
JOB = f"{RELEASE}-topics"
_ENDED = "2026-01-01T00:00:00Z"
COMPLETE = {
    "startTime": _ENDED, "completionTime": _ENDED, "succeeded": 1,
    "conditions": [{"type": kind, "status": "True"} for kind in ("SuccessCriteriaMet", "Complete")],
}  # fmt: skip
FAILED = {
    "startTime": _ENDED, "failed": 1,
    "conditions": [{"type": kind, "status": "True"} for kind in ("FailureTarget", "Failed")],
}  # fmt: skip


class Refused(Exception):
    """The server or Helm refused it; the text is its own."""


class Cluster:
    """The API server whose programs and kubeconfig are in the folder `work`."""

    def __init__(self, work: Path) -> None:
        self._kubectl = [str(work / "tools/bin/kubectl"), "--kubeconfig", str(work / "server/kubeconfig")]
        home = work / "server"
        self._helm = [str(work / "helm"), "--kubeconfig", str(home / "kubeconfig")]
        self._environment = {
            "PATH": "/usr/bin:/bin", "HOME": str(home), "HELM_CACHE_HOME": str(home), "HELM_DATA_HOME": str(home),
        }  # fmt: skip
        self.kinds: list[str] = []

    def kubectl(self, *words: str, given: object = None) -> str:
        """The output. given: what it reads, as JSON. Raises Refused."""
        text = given if isinstance(given, str) or given is None else json.dumps(given)
        return _run([*self._kubectl, *words], self._environment, text)

    def helm(self, *words: str) -> str:
        """The output. Raises Refused."""
        return _run([*self._helm, *words], self._environment)

    def namespace(self, name: str) -> None:
        """A namespace as an operator makes one that admits restricted pods only, with the account that pods need."""
        self.kubectl("create", "-f", "-", given={
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": ENFORCED},
        })  # fmt: skip
        self.kubectl(
            "create", "serviceaccount", "default", "-n", name
        )  # a controller makes it in a whole cluster

    def holds(self, namespace: str) -> dict[tuple[str, str], Resource]:
        """Every object of every kind in a namespace but its default account, by kind and name."""
        if not self.kinds:
            named = self.kubectl("api-resources", "--verbs=list", "--namespaced", "-o", "name").split()
            self.kinds = [one for one in named if not one.startswith("events")]
        found = json.loads(self.kubectl("get", ",".join(self.kinds), "-n", namespace, "-o", "json"))["items"]
        objects = {(one["kind"], one["metadata"]["name"]): one for one in found}
        objects.pop(("ServiceAccount", "default"), None)
        return objects

    def release(
        self,
        namespace: str,
        *words: str,
        job: dict[str, Any] = COMPLETE,
        during: Callable[[], None] = lambda: None,
    ) -> str:
        """Run helm, and end the hook's Job for which it waits, as a controller would.

        Args:
            namespace: of the release.
            words: of helm.
            job: the status that the Job gets.
            during: called while Helm waits for the Job.

        Raises:
            Refused: with Helm's message.
        """
        before = self._job(namespace)
        command = [*self._helm, *words, "-n", namespace, "--timeout", f"{WAIT_S}s"]
        with subprocess.Popen(
            command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as helm:
            try:
                until(lambda: helm.poll() is not None or self._job(namespace) not in ("", before))
                if helm.poll() is None:
                    during()
                    self.kubectl(
                        "patch", "job", JOB, "-n", namespace, "--subresource=status", "--type=merge",
                        "-p", json.dumps({"status": job}),
                    )  # fmt: skip
                text, _ = helm.communicate(timeout=WAIT_S)
            finally:
                helm.kill()
        if helm.returncode:
            raise Refused(text)
        return text

    def _job(self, namespace: str) -> str:
        """The uid of the hook's Job, or an empty text."""
        found = ("get", "job", JOB, "-n", namespace, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}")
        return self.kubectl(*found)

    def rendered(self, namespace: str, *words: str) -> str:
        """The chart's manifests, with those of its hooks."""
        return self.helm("template", RELEASE, str(CHART), "-n", namespace, "--kube-version=1.34", *words)


def _run(command: list[str], environment: dict[str, str], given: str | None = None) -> str:
    done = subprocess.run(
        command, check=False, input=given, capture_output=True, text=True, env=environment, timeout=2 * WAIT_S
    )
    if done.returncode:
        raise Refused(f"{' '.join(command[3:])[:200]}\n{done.stdout[-1000:]}{done.stderr[-3000:]}")
    return done.stdout
