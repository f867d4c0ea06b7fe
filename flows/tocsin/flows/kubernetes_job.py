"""Kubernetes Jobs as values: what is made of an attempt, and what became of it. Nothing here talks to a cluster."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from tocsin.flows.containers import ATTEMPT, GONE, RUN_ID, ended
from tocsin.flows.infrastructure import Exit

# Any below: Kubernetes' JSON.
Json = Mapping[str, Any]

CONTAINER: Final = "run"
"""The name of the container that the run is in."""
UNPULLED: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable"})
UNSTARTABLE: Final = frozenset(
    {"InvalidImageName", "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}
)
FIXED: Final = (
    ("apiVersion",),
    ("kind",),
    ("metadata", "name"),
    ("metadata", "namespace"),
    ("metadata", "labels", RUN_ID),
    ("metadata", "labels", ATTEMPT),
    ("spec", "backoffLimit"),
    ("spec", "completions"),
    ("spec", "parallelism"),
    ("spec", "template", "metadata", "labels", RUN_ID),
    ("spec", "template", "metadata", "labels", ATTEMPT),
    ("spec", "template", "spec", "restartPolicy"),
)
"""What a patch leaves as it is: one attempt is one pod, found again by its name and labels."""


def merged(value: Any, patch: Any) -> Any:
    """`patch` over `value`: a JSON merge patch (RFC 7386), but lists of things with a `name` are merged by name."""
    if isinstance(value, Mapping) and isinstance(patch, Mapping):
        kept = {name: old for name, old in value.items() if name not in patch}
        put = {name: merged(value.get(name), new) for name, new in patch.items() if new is not None}
        return {**kept, **put}
    if _named(value) and _named(patch):
        new = {one["name"]: one for one in patch}
        old = [merged(one, new.pop(one["name"])) if one["name"] in new else one for one in value]
        return [*old, *new.values()]
    if isinstance(patch, Mapping):
        return merged({}, patch)
    return patch


def forbidden(patch: Json) -> str | None:
    """What in the patch would make the Job another one than the attempt's, as a dotted path; None: nothing."""
    for path in FIXED:
        for depth in range(1, len(path) + 1):
            part = _at(patch, path[:depth])
            if part is not ... and (depth == len(path) or not isinstance(part, Mapping)):
                return ".".join(path[:depth])
    containers = _at(patch, ("spec", "template", "spec", "containers"))
    if containers is ...:
        return None
    if not _named(containers):
        return "spec.template.spec.containers (each has a name)"
    taken = [one for one in containers if one["name"] == CONTAINER and "args" in one]
    return "spec.template.spec.containers.run.args" if taken else None


def owner_of(pod: Json) -> str | None:
    """The name of the Job that made the pod."""
    owners = pod["metadata"].get("ownerReferences") or []
    return next((one["name"] for one in owners if one["kind"] == "Job"), None)


def verdict(job: Json | None, pods: Sequence[Json], now: datetime, patience: "Patience") -> Exit | None:
    """How the attempt of this Job and these pods of it ended; None: it has not."""
    pod = max(pods, key=lambda one: str(one["metadata"].get("creationTimestamp")), default=None)
    if pod is not None and (how := _of_pod(pod, now, patience)) is not None:
        return how
    if job is None:
        return None if pod is not None else Exit(GONE, "its Job is gone: somebody deleted it")
    for condition in job.get("status", {}).get("conditions") or []:
        if condition["status"] == "True" and condition["type"] == "Complete":
            return Exit(0)
        if condition["status"] == "True" and condition["type"] == "Failed":
            return Exit(GONE, f"its Job failed: {_told(condition)}")
    if pod is None and now - _instant(job["metadata"]["creationTimestamp"]) > patience.start:
        return Exit(GONE, f"its Job got no pod within {patience.start}")
    return None


class Patience:
    """How long a pod may take: `pull` for its image once that has failed to come, `start` for all until it runs."""

    def __init__(self, pull_s: float, start_s: float) -> None:
        self.pull, self.start = timedelta(seconds=pull_s), timedelta(seconds=start_s)


def _of_pod(pod: Json, now: datetime, patience: Patience) -> Exit | None:
    status = pod.get("status", {})
    state = _container(status).get("state") or {}
    disruption = next((one for one in status.get("conditions") or [] if one["type"] == "DisruptionTarget"), None)
    if done := state.get("terminated"):
        return _terminated(done, disruption)
    if status.get("reason") == "NodeLost":
        return Exit(GONE, f"its node is lost: {_told(status)}")
    if status.get("phase") == "Failed":
        return Exit(GONE, f"its pod failed: {_told(disruption or status)}")
    if "running" in state or pod["metadata"].get("deletionTimestamp"):
        return None
    return _not_started(pod, state.get("waiting") or {}, now, patience)


def _terminated(done: Json, disruption: Json | None) -> Exit:
    why = ""
    if done.get("reason") == "OOMKilled":
        why = "its container used more memory than it may and was killed (OOMKilled)"
    elif done["exitCode"] and disruption is not None:
        why = f"its pod was taken away: {_told(disruption)}"
    elif done.get("reason") not in (None, "Error", "Completed"):
        why = f"its container ended: {_told(done)}"
    return ended(done["exitCode"], why, done.get("message") or "")


def _not_started(pod: Json, waiting: Json, now: datetime, patience: Patience) -> Exit | None:
    since = now - _instant(pod["metadata"]["creationTimestamp"])
    reason = waiting.get("reason")
    if reason in UNSTARTABLE:
        return Exit(GONE, f"its container cannot be started: {_told(waiting)}")
    if reason in UNPULLED and since > patience.pull:
        return Exit(GONE, f"its image could not be pulled within {patience.pull}: {_told(waiting)}")
    if since > patience.start:
        conditions = pod.get("status", {}).get("conditions") or []
        why = next((one for one in conditions if one["status"] == "False" and one.get("reason")), waiting)
        return Exit(GONE, f"its pod did not start within {patience.start}: {_told(why)}")
    return None


def _container(status: Json) -> Json:
    found: list[Json] = [one for one in status.get("containerStatuses") or [] if one["name"] == CONTAINER]
    return found[0] if found else {}


def _told(about: Json) -> str:
    return ": ".join(str(about[name]) for name in ("reason", "message") if about.get(name)) or "no reason given"


def _at(value: Any, path: Sequence[str]) -> Any:
    """What is at this path; Ellipsis: nothing."""
    for step in path:
        value = value.get(step, ...) if isinstance(value, Mapping) else ...
    return value


def _named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(it, Mapping) and "name" in it for it in value)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
