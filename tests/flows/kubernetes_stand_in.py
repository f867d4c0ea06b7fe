"""As much of the Kubernetes API as running Jobs needs, with what a cluster does about them, over dicts."""

import copy
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from tests.flows.engine_stand_in import OOM, PROGRAMS, Body, Engine, Json, Refused, Request


def instant() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _labelled(things: dict[str, Json], request: Request) -> list[Json]:
    """Those that have the label of this name."""
    name = request.query["labelSelector"]
    return [one for one in list(things.values()) if name in one["metadata"]["labels"]]


class KubernetesCluster(Engine):
    """One namespace, with a node that runs each Job's pod at once when it has the image."""

    def __init__(self) -> None:
        super().__init__()
        self.images, self.jobs, self.pods = {*PROGRAMS, "flows"}, dict[str, Json](), dict[str, Json]()
        self.bodies: dict[str, Body] = {}
        self.secrets: dict[str, str] = {}
        self._changes: list[Json] = []

    def refusal(self, status: int, message: str) -> Json:
        return {"kind": "Status", "status": "Failure", "message": message, "code": status}

    def close(self) -> None:
        for body in list(self.bodies.values()):
            body.signal("SIGKILL")
        super().close()

    def lose(self, reason: str) -> None:
        """Every pod is taken away from outside, for this reason."""
        with self.changed:
            for pod in self.pods.values():
                pod["status"] = {"phase": "Failed", "reason": reason, "message": f"because of {reason}"}
                self._saw(pod)

    def answer(self, request: Request) -> Any:
        match [request.method, *request.path.strip("/").split("/")[2:]]:
            case ["GET", "v1" | "namespaces", *_] if request.query.get("watch"):
                return self._watch()
            case ["POST", "v1", "namespaces", _, "jobs"]:
                return self._create(request.body)
            case ["GET", "v1", "namespaces", _, "jobs"]:
                return {
                    "kind": "JobList",
                    "apiVersion": "batch/v1",
                    "metadata": {},
                    "items": _labelled(self.jobs, request),
                }
            case ["GET", "v1", "namespaces", _, "jobs", name]:
                return self._known(self.jobs, name)
            case ["DELETE", "v1", "namespaces", _, "jobs", name]:
                return self._delete(name)
            case ["GET", "namespaces", _, "pods"]:
                return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": _labelled(self.pods, request)}
            case ["GET", "namespaces", _, "pods", name, "log"]:
                lines = self._known(self.bodies, name).output.splitlines(keepends=True)
                return "".join(lines[-int(request.query["tailLines"]) :]).encode()
            case ["DELETE", "namespaces", _, "pods", name]:
                self._known(self.pods, name)
                self.bodies[name].signal("SIGKILL")
                return self._gone(name)
        raise Refused(501, f"not in this stand-in: {request.method} {request.path}")

    def _known(self, things: dict[str, Any], name: str) -> Any:
        if name not in things:
            raise Refused(404, f'"{name}" not found')
        return things[name]

    def _create(self, job: Json) -> Json:
        name = job["metadata"]["name"]
        with self.changed:
            if name in self.jobs:
                raise Refused(409, f'jobs.batch "{name}" already exists')
            job["metadata"]["creationTimestamp"] = instant()
            self.jobs[name] = job
            self._put_pod(name, job["spec"]["template"])
        return job

    def _put_pod(self, job: str, template: Json) -> None:
        (container,) = [one for one in template["spec"]["containers"] if one["name"] == "run"]
        about = {
            "name": f"{job}-x1",
            "creationTimestamp": instant(),
            "labels": template["metadata"]["labels"],
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": "u", "controller": True}],
        }
        pod = {"kind": "Pod", "metadata": about, "spec": template["spec"], "status": {"phase": "Pending"}}
        self.pods[about["name"]] = pod
        if container["image"] in self.images:
            self._run(pod, container)
        else:
            self._state(pod, waiting={"reason": "ImagePullBackOff", "message": f"no {container['image']} anywhere"})

    def _run(self, pod: Json, container: Json) -> None:
        name = pod["metadata"]["name"]
        self._state(pod, running={"startedAt": instant()})
        pod["status"]["phase"] = "Running"
        env = {one["name"]: one.get("value") or self._secret(one) for one in container["env"]}
        body = Body(container["image"], [*container["command"], *container["args"]], env, lambda: self._ended(name))
        self.bodies[name] = body
        if body.ended.is_set():
            self._ended(name)

    def _secret(self, variable: Json) -> str:
        wanted = variable["valueFrom"]["secretKeyRef"]
        return self.secrets[f"{wanted['name']}/{wanted['key']}"]

    def _ended(self, name: str) -> None:
        with self.changed:
            pod, body = self.pods.get(name), self.bodies.get(name)
            if pod is None or body is None:
                return
            oom = pod["spec"]["containers"][0]["image"] == "hungry" and body.code == OOM
            reason = "OOMKilled" if oom else "Error" if body.code else "Completed"
            self._state(pod, terminated={"exitCode": body.code, "reason": reason})
            pod["status"]["phase"] = "Failed" if body.code else "Succeeded"
            job = self.jobs.get(pod["metadata"]["ownerReferences"][0]["name"])
            if job is not None:
                failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
                done = {"type": "Complete", "status": "True"}
                job["status"] = {"conditions": [failed if body.code else done]}
            if "deletionTimestamp" in pod["metadata"]:
                self._gone(name)

    def _delete(self, name: str) -> Json:
        with self.changed:
            job: Json = self._known(self.jobs, name)
            del self.jobs[name]
            for pod in [one for one in self.pods.values() if one["metadata"]["ownerReferences"][0]["name"] == name]:
                pod["metadata"]["deletionTimestamp"] = instant()
                body = self.bodies.get(pod["metadata"]["name"])
                if body is None or body.ended.is_set():
                    self._gone(pod["metadata"]["name"])
                else:
                    self._saw(pod)
                    body.signal("SIGTERM")
        return job

    def _gone(self, name: str) -> Json:
        with self.changed:
            pod: Json = self.pods.pop(name)
            self._saw(pod)
        return pod

    def _state(self, pod: Json, **state: Json) -> None:
        pod["status"]["containerStatuses"] = [
            {"name": "run", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
        ]
        self._saw(pod)

    def _saw(self, pod: Json) -> None:
        pod["metadata"]["resourceVersion"] = str(len(self._changes) + 1)
        self._changes.append(copy.deepcopy(pod))
        self.changed.notify_all()

    def _watch(self) -> Iterator[Json]:
        seen = 0
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.closing or len(self._changes) > seen)  # noqa: B023 - called at once
                if self.closing:
                    return
                new, seen = self._changes[seen:], len(self._changes)
            for pod in new:
                yield {"type": "MODIFIED", "object": pod}
