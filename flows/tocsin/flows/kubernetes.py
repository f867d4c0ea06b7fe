"""Pools of type `kubernetes`: each attempt in a Job of its own, with one pod that is never tried again.

    create (its name is the attempt's: 409 = found) ──▶ watch its pod ──▶ exit code or reason ──▶ delete

A watch on the pods only rings; what is so is read from lists of Jobs and pods, one of each for all runs of a worker.
"""

import asyncio
import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from tocsin.events.clock import SystemClock
from tocsin.events.errors import Conflict, TocsinError, Unavailable
from tocsin.flows.chores import Chores
from tocsin.flows.containers import (
    GONE,
    Attempt,
    ContainerTemplate,
    attempt_of,
    ended,
    labels_of,
    name_of,
    variables_of,
)
from tocsin.flows.infrastructure import Exit, Handle, Infrastructure, Job
from tocsin.flows.insisting import Caller
from tocsin.flows.kubernetes_job import CONTAINER, Patience, forbidden, merged, owner_of, verdict
from tocsin.flows.leftovers import Sweep
from tocsin.store.engine import Store
from tocsin.store.signals import first

if TYPE_CHECKING:
    from tocsin.flows.kubernetes_cluster import Cluster

# Any below: Kubernetes' JSON.
Json = dict[str, Any]

THREADS: Final = 8
NET_S: Final = 5.0
"""The longest time between two looks, whatever the watch said."""
BREATH_S: Final = 0.1
"""The shortest: a busy namespace rings often."""
AGAIN_S: Final = 0.5
TOLD: Final = "it was told to stop, and its pod is gone"
_NAME: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
_SIZE: Final = r"^\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"

logger = logging.getLogger(__name__)


class SecretKey(BaseModel):
    """One entry of a Secret of the namespace."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=_NAME)
    key: str = Field(min_length=1)


class KubernetesTemplate(ContainerTemplate):
    """The choices of a pool of type `kubernetes`."""

    kubeconfig: str | None = Field(default=None, description="A file; unset: the pod's own access, or KUBECONFIG.")
    context: str | None = Field(default=None, description="Of the kubeconfig; unset: its current one.")
    namespace: str = Field(default="default", pattern=_NAME)
    service_account: str | None = Field(default=None, pattern=_NAME)
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] | None = Field(default=None)
    image_pull_secrets: list[str] = Field(default_factory=list)
    env_from_secret: dict[str, SecretKey] = Field(
        default_factory=dict, description="Variables whose values stand in Secrets, and not in the Job."
    )
    cpu_request: str | None = Field(default=None, pattern=_SIZE)
    cpu_limit: str | None = Field(default=None, pattern=_SIZE)
    memory_request: str | None = Field(default=None, pattern=_SIZE)
    memory_limit: str | None = Field(default=None, pattern=_SIZE)
    termination_grace_s: int = Field(default=30, ge=1, description="Between SIGTERM and SIGKILL.")
    ttl_after_finished_s: int | None = Field(default=None, ge=0, description="Unset: deleted when it has ended.")
    pull_timeout_s: float = Field(default=60, gt=0, description="For an image that cannot be pulled.")
    start_timeout_s: float = Field(default=600, gt=0, description="For a node, and for the image.")
    job_manifest: dict[str, Any] = Field(default_factory=dict, description="Merged over the Job.")

    @field_validator("job_manifest")
    @classmethod
    def _keeps_what_is_ours(cls, patch: Json) -> Json:
        if (path := forbidden(patch)) is not None:
            raise ValueError(f"{path} is not for a patch to change")
        return patch

    @field_validator("env_from_secret")
    @classmethod
    def _one_value_each(cls, secret: dict[str, SecretKey], others: ValidationInfo) -> dict[str, SecretKey]:
        if twice := sorted(others.data.get("env", {}).keys() & secret.keys()):
            raise ValueError(f"{', '.join(twice)} is in env as well")
        return secret

    def infrastructure(self, store: Store) -> Infrastructure:
        """Jobs in the namespace."""
        return Jobs(store, self)

    @property
    def resources(self) -> Json:
        """As a container has them."""
        requests = {"cpu": self.cpu_request, "memory": self.memory_request}
        limits = {"cpu": self.cpu_limit, "memory": self.memory_limit}
        return {"requests": _given(requests), "limits": _given(limits)}


def manifest_of(job: Job, template: KubernetesTemplate) -> Json:
    """The Job that is created."""
    labels = labels_of(job, template)
    spec = {
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": template.ttl_after_finished_s,
        "template": {"metadata": {"labels": labels}, "spec": _pod(job, template)},
    }
    about = {"name": name_of(job), "namespace": template.namespace, "labels": labels}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": about, "spec": _given(spec)}
    patched: Json = merged(body, template.job_manifest)
    return patched


def _pod(job: Job, template: KubernetesTemplate) -> Json:
    pod = {
        "restartPolicy": "Never",
        "serviceAccountName": template.service_account,
        "imagePullSecrets": [{"name": name} for name in template.image_pull_secrets],
        "terminationGracePeriodSeconds": template.termination_grace_s,
        "containers": [_container(job, template)],
    }
    return _given(pod)


def _container(job: Job, template: KubernetesTemplate) -> Json:
    plain = variables_of(job, template, frozenset(template.env_from_secret))
    secret = {name: {"secretKeyRef": it.model_dump()} for name, it in template.env_from_secret.items()}
    container = {
        "name": CONTAINER,
        "image": template.image,
        "imagePullPolicy": template.image_pull_policy,
        "command": template.command,
        "args": list(job.arguments),
        "workingDir": template.working_dir,
        "env": [
            *({"name": name, "value": value} for name, value in plain.items()),
            *({"name": name, "valueFrom": source} for name, source in secret.items()),
        ],
        "resources": template.resources,
    }
    return _given(container)


def _given(values: Mapping[str, Any]) -> Json:
    return {name: value for name, value in values.items() if value not in (None, [])}


@dataclass
class Awaited:
    """A Job whose end is awaited. `pod`: the one that its run was seen in last; `told`: whether it is to end."""

    ended: "asyncio.Future[Exit]"
    patience: Patience
    pod: str | None = None
    told: bool = False


class JobOfRun:
    """The Job of one attempt."""

    def __init__(self, jobs: "Jobs", name: str, template: KubernetesTemplate) -> None:
        self._jobs, self._name, self._template = jobs, name, template
        self._ended = jobs.chores.begin(self._follow(), name)

    @property
    def place(self) -> str:
        """Its namespace and name."""
        return f"job {self._template.namespace}/{self._name}"

    async def wait(self) -> Exit:
        """Its exit code, or why there is none."""
        return await asyncio.shield(self._ended)

    def terminate(self) -> None:
        """The Job is deleted: SIGTERM, and SIGKILL when the template's grace is over."""
        self._jobs.end(self._name, at_once=False)

    def kill(self) -> bool:
        """The Job and its pod are deleted without a grace."""
        self._jobs.end(self._name, at_once=True)
        return True

    async def _follow(self) -> Exit:
        how, output = await self._jobs.awaited(self._name, self._template)
        if self._template.ttl_after_finished_s is None or how.code == GONE:
            await self._jobs.delete(self._name)
        return ended(how.code, how.reason, output) if output else how


class Jobs:
    """Creates a Job for each attempt."""

    apart = True

    def __init__(self, store: Store, template: KubernetesTemplate) -> None:
        self._reached = partial(_reached, template)
        self._calls, self._clock = Caller("tocsin-kubernetes", THREADS), SystemClock()
        self._awaited: dict[str, Awaited] = {}
        self._bell = asyncio.Event()
        self.chores = Chores()
        """What follows its Jobs, and what is still to be said about them."""
        self._serving: list[asyncio.Task[None]] = []
        self._sweep = Sweep(store, self._found, self.delete)
        self._known: Cluster | None = None

    @property
    def sweep(self) -> Sweep:
        """What removes the Jobs of workers that are gone."""
        return self._sweep

    async def open(self) -> None:
        """Reach the cluster. Raises Invalid without the extra or a way to one, Unavailable when it does not answer."""
        self._known = await self._calls.once(self._reached)
        await self._calls.insist(self._known.jobs)
        loop = asyncio.get_running_loop()
        ring = partial(_ring, loop, self._bell)
        threading.Thread(target=self._known.watch, args=(ring,), name="tocsin-kubernetes-watch", daemon=True).start()
        self._serving = [asyncio.create_task(self._look_on()), asyncio.create_task(self._sweep.serve())]

    async def start(self, job: Job) -> Handle:
        """A Job of the attempt's name: a new one, or the one that was made of this attempt before."""
        template = job.template
        assert isinstance(template, KubernetesTemplate)
        name = name_of(job)
        try:
            await self._calls.insist(partial(self._cluster.create, manifest_of(job, template)))
        except Conflict:
            found = await self._calls.insist(partial(self._cluster.job, name))
            if attempt_of(found["metadata"].get("labels")) != (job.run_id, job.attempt):
                raise Unavailable(f"job {name}: it is there, and not of this attempt; delete it") from None
        return JobOfRun(self, name, template)

    async def awaited(self, name: str, template: KubernetesTemplate) -> tuple[Exit, str]:
        """How the Job ended, and its last output when that was not well."""
        patience = Patience(template.pull_timeout_s, template.start_timeout_s)
        waiting = self._awaited.get(name) or Awaited(asyncio.get_running_loop().create_future(), patience)
        self._awaited[name] = waiting
        self._bell.set()
        how = await asyncio.shield(waiting.ended)
        if how.code == 0 or waiting.pod is None:
            return how, ""
        with suppress(TocsinError):  # the pod may be gone, or never have begun
            return how, await self._calls.once(partial(self._cluster.tail, waiting.pod))
        return how, ""

    def end(self, name: str, *, at_once: bool) -> None:
        """Have it deleted without waiting."""
        if waiting := self._awaited.get(name):
            waiting.told = True
        self.chores.begin(self._end(name, at_once), f"{name}-end")

    async def delete(self, name: str) -> None:
        """Delete it; when that fails, a sweep will."""
        try:
            await self._calls.insist(partial(self._cluster.delete, name))
        except TocsinError as error:
            logger.warning("job %s: it could not be deleted: %s", name, error)

    async def close(self) -> None:
        """Say what is still to be said, see the last Jobs end, and let the cluster go."""
        await self.chores.finish()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)
        self._calls.close()
        if self._known is not None:
            self._known.close()

    @property
    def _cluster(self) -> "Cluster":
        assert self._known is not None
        return self._known

    async def _look_on(self) -> None:
        while True:
            await first(self._bell.wait(), asyncio.sleep(NET_S))
            self._bell.clear()
            if self._awaited:
                try:
                    await self._look()
                except TocsinError as error:
                    logger.warning("the Jobs of runs could not be listed, trying again: %s", error)
                    self._bell.set()
                    await asyncio.sleep(AGAIN_S)
            await asyncio.sleep(BREATH_S)

    async def _look(self) -> None:
        """End those that have ended. Pods are listed last: a Job that has none by then has lost or not got its own."""
        asked = dict(self._awaited)
        jobs = {one["metadata"]["name"]: one for one in await self._calls.once(self._cluster.jobs)}
        pods: dict[str | None, list[Json]] = {}
        for pod in await self._calls.once(self._cluster.pods):
            pods.setdefault(owner_of(pod), []).append(pod)
        now = self._clock.now()
        for name, waiting in asked.items():
            if mine := pods.get(name):
                waiting.pod = mine[-1]["metadata"]["name"]
            how = verdict(jobs.get(name), mine or [], now, waiting.patience)
            if how is not None and self._awaited.pop(name, None) is not None:
                waiting.ended.set_result(Exit(GONE, TOLD) if waiting.told and how.code == GONE else how)

    async def _end(self, name: str, at_once: bool) -> None:
        ending = self._cluster.kill if at_once else self._cluster.delete
        try:
            await self._calls.insist(partial(ending, name))
        except TocsinError as error:
            logger.error("job %s: it could not be ended: %s", name, error)
            if at_once and (waiting := self._awaited.pop(name, None)) is not None:
                waiting.ended.set_result(Exit(GONE, f"nobody knows whether its Job has ended: {error}"))
        self._bell.set()

    async def _found(self) -> dict[str, Attempt]:
        listed = await self._calls.once(self._cluster.jobs)
        owners = {one["metadata"]["name"]: attempt_of(one["metadata"]["labels"]) for one in listed if _leftover(one)}
        return {name: attempt for name, attempt in owners.items() if attempt is not None}


def _leftover(job: Json) -> bool:
    """Whether it may be deleted when its attempt is over; a finished one with a time to live goes by itself."""
    finished = any(one["status"] == "True" for one in job.get("status", {}).get("conditions") or [])
    return not (finished and "ttlSecondsAfterFinished" in job["spec"])


def _ring(loop: asyncio.AbstractEventLoop, bell: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(bell.set)


def _reached(template: KubernetesTemplate) -> "Cluster":
    from tocsin.flows.kubernetes_cluster import Cluster

    return Cluster(template.namespace, template.kubeconfig, template.context)
