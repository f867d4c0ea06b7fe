"""What becomes of a template: a container's configuration, a Job's manifest, and what a Job's end is called."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tocsin.events.errors import Invalid
from tocsin.flows.containers import attempt_of, ended, name_of
from tocsin.flows.docker import DockerTemplate, bytes_of, config_of, exit_of, leftover
from tocsin.flows.infrastructure import TYPES, Exit, Job, template_of
from tocsin.flows.kubernetes import KubernetesTemplate, manifest_of
from tocsin.flows.kubernetes_job import Patience, merged, verdict

RUN = UUID("019aa000-0000-7000-8000-000000000001")
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECRET = {"TOCSIN_DATABASE_URL": {"name": "tocsin", "key": "url"}}
NEEDED = {"TOCSIN_DATABASE_URL": "postgresql://u:hush@db/t", "TOCSIN_WORKER": "w"}


def job(template: DockerTemplate | KubernetesTemplate, **also: Any) -> Job:
    return Job({"id": RUN, "attempt": 2, "name": "a-run"}, "module:flow", "/deployed/from", template, NEEDED, **also)


def kubernetes(**fields: Any) -> dict[str, Any]:
    template = KubernetesTemplate.model_validate({"image": "etl:1", **fields})
    return manifest_of(job(template), template)


def container_of(manifest: dict[str, Any]) -> dict[str, Any]:
    (found,) = manifest["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


PATCHED = {"spec": {"template": {"spec": {"containers": [{"name": "run", "args": ["rm"]}]}}}}


@pytest.mark.parametrize(
    ("kind", "template", "said"),
    [
        ("docker", {}, "image: Field required"),
        ("docker", {"image": "an image"}, "image: String should match"),
        ("docker", {"image": "i", "memory": "512 MB"}, "memory: String should match"),
        ("docker", {"image": "i", "cpus": 0}, "cpus: Input should be greater than 0"),
        ("docker", {"image": "i", "pull": "sometimes"}, "pull: Input should be 'missing', 'always' or 'never'"),
        ("docker", {"image": "i", "namespace": "x"}, "namespace: Extra inputs are not permitted; it may hold: image,"),
        ("kubernetes", {"image": "i", "memory_limit": "lots"}, "memory_limit: String should match"),
        ("kubernetes", {"image": "i", "namespace": "No_Such"}, "namespace: String should match"),
        (
            "kubernetes",
            {"image": "i", "env_from_secret": {"A": {"name": "s"}}},
            "env_from_secret.A.key: Field required",
        ),
        (
            "kubernetes",
            {"image": "i", "env": {"A": "1"}, "env_from_secret": {"A": {"name": "s", "key": "k"}}},
            "env_from_secret: Value error, A is in env as well",
        ),
        ("kubernetes", {"image": "i", "job_manifest": []}, "job_manifest: Input should be a valid dictionary"),
        (
            "kubernetes",
            {"image": "i", "job_manifest": {"spec": {"backoffLimit": 3}}},
            "job_manifest: Value error, spec.backoffLimit is not for a patch to change",
        ),
        ("kubernetes", {"image": "i", "job_manifest": {"spec": None}}, "spec is not for a patch to change"),
        ("kubernetes", {"image": "i", "job_manifest": PATCHED}, "containers.run.args is not for a patch to change"),
    ],
)
def test_a_bad_template_is_refused_by_the_name_of_its_field(kind: str, template: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=f"template of a pool of type {kind}: .*{said}"):
        template_of(kind, template)


def test_a_container_is_made_as_its_template_says() -> None:
    template = DockerTemplate(
        image="etl:1",
        env={"REGION": "eu"},
        working_dir="/app",
        volumes=["/data:/data:ro"],
        networks=["etl", "db"],
        memory="512m",
        cpus=1.5,
        user="1000",
        labels={"team": "data", "tocsin.attempt": "9"},
        auto_remove=False,
    )
    assert config_of(job(template), template) == {
        "Image": "etl:1",
        "Entrypoint": ["python", "-m", "tocsin.flows.execute"],
        "Cmd": [str(RUN), "2"],
        "Env": [
            "TOCSIN_DATABASE_URL=postgresql://u:hush@db/t",
            "TOCSIN_WORKER=w",
            "TOCSIN_CODE_PATH=/app",
            "REGION=eu",
        ],
        "Labels": {"team": "data", "tocsin.run-id": str(RUN), "tocsin.attempt": "2", "tocsin.kept": "true"},
        "WorkingDir": "/app",
        "User": "1000",
        "HostConfig": {
            "Init": True,
            "Binds": ["/data:/data:ro"],
            "NetworkMode": "etl",
            "Memory": 512 * 1024 * 1024,
            "NanoCpus": 1_500_000_000,
        },
        "NetworkingConfig": {"EndpointsConfig": {"etl": {}, "db": {}}},
    }


CHOSEN = {
    "namespace": "etl",
    "service_account": "runner",
    "image_pull_policy": "Always",
    "image_pull_secrets": ["registry"],
    "env": {"REGION": "eu"},
    "env_from_secret": SECRET,
    "cpu_request": "250m",
    "memory_limit": "1Gi",
    "labels": {"team": "data"},
    "ttl_after_finished_s": 3600,
}
LABELS = {"team": "data", "tocsin.run-id": str(RUN), "tocsin.attempt": "2"}
CONTAINER = {
    "name": "run",
    "image": "etl:1",
    "imagePullPolicy": "Always",
    "command": ["python", "-m", "tocsin.flows.execute"],
    "args": [str(RUN), "2"],
    "env": [
        {"name": "TOCSIN_WORKER", "value": "w"},
        {"name": "REGION", "value": "eu"},
        {"name": "TOCSIN_DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "tocsin", "key": "url"}}},
    ],
    "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "1Gi"}},
}
POD = {
    "restartPolicy": "Never",
    "serviceAccountName": "runner",
    "imagePullSecrets": [{"name": "registry"}],
    "terminationGracePeriodSeconds": 30,
    "containers": [CONTAINER],
}


def test_a_job_is_made_as_its_template_says() -> None:
    manifest = kubernetes(**CHOSEN)
    assert manifest == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"tocsin-{RUN}-2", "namespace": "etl", "labels": LABELS},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": 3600,
            "template": {"metadata": {"labels": LABELS}, "spec": POD},
        },
    }
    assert "hush" not in str(manifest)


def test_a_run_that_reports_to_a_server_is_not_told_where_the_database_is() -> None:
    for fields in (
        {"env": {"TOCSIN_API_URL": "http://tocsin:4300"}},
        {"env_from_secret": {"TOCSIN_API_URL": {"name": "s", "key": "k"}}},
    ):
        assert "TOCSIN_DATABASE_URL" not in str(kubernetes(**fields))
    assert "hush" in str(kubernetes())


def test_a_patch_adds_to_the_job_and_to_its_container() -> None:
    mount = {"name": "scratch", "mountPath": "/scratch"}
    pod = {
        "nodeSelector": {"gpu": "true"},
        "terminationGracePeriodSeconds": None,
        "volumes": [{"name": "scratch", "emptyDir": {}}],
        "containers": [{"name": "run", "volumeMounts": [mount]}, {"name": "proxy", "image": "p"}],
    }
    spec = kubernetes(job_manifest={"spec": {"template": {"spec": pod}}})["spec"]["template"]["spec"]
    run, proxy = spec["containers"]
    assert (run["image"], run["volumeMounts"], proxy["image"]) == ("etl:1", [mount], "p")
    assert spec["nodeSelector"] == {"gpu": "true"}
    assert "terminationGracePeriodSeconds" not in spec


@pytest.mark.parametrize(
    ("value", "patch", "result"),
    [  # of the appendix of RFC 7386
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_patch_without_names_is_a_json_merge_patch(value: Any, patch: Any, result: Any) -> None:
    assert merged(value, patch) == result


def test_names_and_labels_lead_back_to_the_attempt() -> None:
    template = DockerTemplate(image="i")
    assert name_of(job(template)) == f"tocsin-{RUN}-2"
    assert name_of(job(template, afterwards=True)) == f"tocsin-{RUN}-2-afterwards"
    assert attempt_of(config_of(job(template), template)["Labels"]) == (RUN, 2)
    assert attempt_of({"tocsin.run-id": "x", "tocsin.attempt": "1"}) is attempt_of(None) is None


@pytest.mark.parametrize(("size", "bytes_"), [("7b", 7), ("2k", 2048), ("3m", 3 << 20), ("1g", 1 << 30)])
def test_sizes_are_powers_of_1024(size: str, bytes_: int) -> None:
    assert bytes_of(size) == bytes_


def test_how_a_container_ended_is_told_with_its_last_words() -> None:
    assert exit_of({"ExitCode": 0, "OOMKilled": False, "Error": ""}, DockerTemplate(image="i"), "") == Exit(0)
    much = exit_of({"ExitCode": 137, "OOMKilled": True, "Error": ""}, DockerTemplate(image="i", memory="1g"), "working")
    assert much.reason == "its container used more memory than it may (1g) and was killed; it said last:\nworking"
    assert len(ended(1, "", "x" * 9_000).reason) < 2_100


@pytest.mark.parametrize(
    ("state", "labels", "removed"),
    [("running", {"tocsin.kept": "true"}, True), ("exited", {"tocsin.kept": "true"}, False), ("exited", {}, True)],
)
def test_a_container_that_is_kept_is_no_leftover_when_it_has_ended(state: str, labels: Any, removed: bool) -> None:
    assert leftover({"State": state, "Labels": labels}) is removed


def pod(age_s: float = 1, **status: Any) -> dict[str, Any]:
    made = (NOW - timedelta(seconds=age_s)).isoformat()
    return {"metadata": {"creationTimestamp": made}, "status": status}


def running_as(age_s: float = 1, phase: str = "Pending", /, **state: Any) -> dict[str, Any]:
    other = {"name": "proxy", "state": {"terminated": {"exitCode": 9}}}
    return pod(age_s, phase=phase, containerStatuses=[other, {"name": "run", "state": state}])


def job_with(*conditions: dict[str, str], age_s: float = 1) -> dict[str, Any]:
    made = (NOW - timedelta(seconds=age_s)).isoformat()
    return {
        "metadata": {"creationTimestamp": made},
        "status": {"conditions": [{"status": "True", **c} for c in conditions]},
    }


BACK_OFF = {"reason": "ImagePullBackOff", "message": "Back-off pulling"}
DISRUPTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "DeletionByTaint",
    "message": "node is gone",
}
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}


@pytest.mark.parametrize(
    ("found", "pods", "said"),
    [
        pytest.param(job_with(), [], None, id="a young Job waits for its pod"),
        pytest.param(job_with(age_s=601), [], "its Job got no pod within 0:10:00", id="an old one does not"),
        pytest.param(None, [], "its Job is gone", id="gone"),
        pytest.param(job_with({"type": "Complete"}), [], "0", id="complete without a pod"),
        pytest.param(
            job_with({"type": "Failed", "reason": "DeadlineExceeded", "message": "too long"}),
            [],
            "its Job failed: DeadlineExceeded: too long",
            id="failed without a pod",
        ),
        pytest.param(job_with(), [running_as(1, "Running", running={})], None, id="running"),
        pytest.param(job_with(), [running_as(9999, "Running", running={})], None, id="running for long"),
        pytest.param(job_with(), [running_as(1, terminated={"exitCode": 0, "reason": "Completed"})], "0", id="done"),
        pytest.param(
            job_with(),
            [running_as(1, terminated={"exitCode": 4, "reason": "Error"})],
            "exited with code 4",
            id="failed",
        ),
        pytest.param(
            job_with(), [running_as(1, terminated={"exitCode": 137, "reason": "OOMKilled"})], "OOMKilled", id="memory"
        ),
        pytest.param(job_with(), [running_as(59, waiting=BACK_OFF)], None, id="an image may yet come"),
        pytest.param(
            job_with(),
            [running_as(61, waiting=BACK_OFF)],
            "its image could not be pulled within 0:01:00: ImagePullBackOff: Back-off pulling",
            id="an image that does not come",
        ),
        pytest.param(
            job_with(),
            [running_as(1, waiting={"reason": "InvalidImageName"})],
            "InvalidImageName",
            id="no image's name",
        ),
        pytest.param(
            job_with(), [running_as(61, waiting={"reason": "ContainerCreating"})], None, id="a pull that takes its time"
        ),
        pytest.param(
            job_with(),
            [pod(601, phase="Pending", conditions=[UNSCHEDULABLE])],
            "its pod did not start within 0:10:00: Unschedulable: 0/3 nodes",
            id="no node has room",
        ),
        pytest.param(
            job_with(),
            [pod(9, phase="Failed", reason="Evicted", message="low on memory")],
            "its pod failed: Evicted: low on memory",
            id="evicted",
        ),
        pytest.param(job_with(), [pod(9, phase="Running", reason="NodeLost")], "its node is lost", id="node lost"),
        pytest.param(
            job_with(),
            [pod(9, phase="Failed", conditions=[DISRUPTED])],
            "its pod failed: DeletionByTaint: node is gone",
            id="its node went away",
        ),
    ],
)
def test_the_end_of_a_job_is_called_by_its_reason(found: Any, pods: list[Any], said: str | None) -> None:
    how = verdict(found, pods, NOW, Patience(pull_s=60, start_s=600))
    if said is None:
        assert how is None
    elif said == "0":
        assert how == Exit(0)
    else:
        assert how is not None
        assert how.code != 0
        assert said in how.said()


GUIDE = (Path(__file__).parents[2] / "docs" / "infrastructure.md").read_text()


@pytest.mark.parametrize(("kind", "model"), [("docker", DockerTemplate), ("kubernetes", KubernetesTemplate)])
def test_the_guide_shows_a_template_that_is_taken_and_names_every_field(kind: str, model: Any) -> None:
    assert kind in TYPES
    both, part = GUIDE.partition("## Docker")[0], GUIDE.partition(f"## {kind.capitalize()}\n")[2].partition("\n## ")[0]
    (example,) = re.findall(r"```json\n(.*?)```", part, re.DOTALL)
    template_of(kind, json.loads(example))
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", both + part, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert named == set(model.model_fields)
