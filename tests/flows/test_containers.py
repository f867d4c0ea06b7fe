"""Containers of both kinds keep one contract. The engines are stand-ins on loopback, the clients are the real ones."""

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlmodel import Session

from tests.flows.docker_stand_in import DockerEngine
from tests.flows.engine_stand_in import Engine, served
from tests.flows.kubernetes_stand_in import KubernetesCluster
from tests.flows.yard import SAMPLES, Serving, Yard, now
from tocsin.events.errors import Invalid, TocsinError
from tocsin.flows import claims
from tocsin.flows.containers import GONE
from tocsin.flows.docker import Containers
from tocsin.flows.infrastructure import Exit, Infrastructure, Job, template_of
from tocsin.flows.kubernetes import Jobs
from tocsin.flows.pools import create_pool
from tocsin.flows.runs import cancel_run
from tocsin.store.engine import Store


@dataclass
class Place:
    """An engine behind its API, and templates that lead to it."""

    kind: str
    engine: Engine
    template: dict[str, Any]

    def job(self, image: str, run: UUID | None = None, attempt: int = 1, **also: Any) -> Job:
        template = template_of(self.kind, {**self.template, "image": image, **also})
        columns = {"id": run or uuid4(), "attempt": attempt, "name": "a-run"}
        return Job(columns, "module:flow", None, template, {"TOCSIN_WORKER": "w"})

    def there(self) -> list[str]:
        """The names of what is in the engine."""
        if isinstance(self.engine, DockerEngine):
            return [one.name for one in self.engine.containers.values()]
        assert isinstance(self.engine, KubernetesCluster)
        return sorted(self.engine.jobs)

    @asynccontextmanager
    async def opened(self, store: Store) -> AsyncIterator[Infrastructure]:
        infrastructure = self.job("done").template.infrastructure(store)
        await infrastructure.open()
        try:
            yield infrastructure
        finally:
            await infrastructure.close()


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that nothing is asked of: what these tests start is no run of it."""
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('idle') / 'tocsin.db'}")
    yield store
    store.close()


@pytest.fixture(params=["docker", "kubernetes"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr("tocsin.flows.insisting.PAUSES_S", (0.0, 0.0, 0.0))
    engine: Engine = DockerEngine() if request.param == "docker" else KubernetesCluster()
    with served(engine):
        if request.param == "docker":
            template = {"host": f"tcp://{engine.url}"}
        else:
            template = {"kubeconfig": str(kubeconfig(tmp_path, engine.url)), "context": "here"}
        yield Place(request.param, engine, template)


def kubeconfig(folder: Path, url: str) -> Path:
    path = folder / "kubeconfig"
    context = {"name": "here", "context": {"cluster": "c", "user": "u"}}
    cluster = {"name": "c", "cluster": {"server": f"http://{url}"}}
    user = {"name": "u", "user": {"token": "t"}}
    about = {"apiVersion": "v1", "kind": "Config", "current-context": "here"}
    path.write_text(json.dumps({**about, "contexts": [context], "clusters": [cluster], "users": [user]}))
    return path


async def test_a_run_is_carried_out(place: Place, small_yard: Yard, serving: Serving) -> None:
    yard = small_yard
    template = {**place.template, "image": "flows", "env": {"REGION": "eu"}, "working_dir": str(SAMPLES.parent)}
    with yard.store.begin() as session:
        create_pool(session, place.kind, kind=place.kind, template=template, now=now())
    asked = yard.ask("looks_around", place.kind)
    async with serving(yard, pool=place.kind):
        done = await yard.until(asked, "Completed", "Failed", "Crashed")
        await yard.met(lambda: place.there() == [])
    assert done.result == {"kind": "json", "text": f'["eu", "{SAMPLES.parent}"]'}, done.state_message


async def test_the_exit_code_and_the_last_lines_are_known_and_nothing_stays(place: Place, idle: Store) -> None:
    async with place.opened(idle) as engine:
        assert await (await engine.start(place.job("done"))).wait() == Exit(0)
        how = await (await engine.start(place.job("fails"))).wait()
    lines = how.said().splitlines()
    assert how.code == 7
    assert lines[0] == "its container exited with code 7 before the run had ended; it said last:"
    assert lines[1:] == [*(f"line {i}" for i in range(21, 40)), "KeyError: 'region'"]
    assert place.there() == []


async def test_a_container_that_used_too_much_memory_says_so(place: Place, idle: Store) -> None:
    async with place.opened(idle) as engine:
        how = await (await engine.start(place.job("hungry"))).wait()
    assert how.code == 137
    assert "used more memory than it may" in how.said()


async def test_one_that_is_asked_to_end_ends(place: Place, idle: Store) -> None:
    async with place.opened(idle) as engine:
        handle = await engine.start(place.job("holds"))
        handle.terminate()
        handle.terminate()
        assert (await handle.wait()).code in (143, GONE)
        handle.terminate()
        assert handle.kill(), "also when it is gone"
    assert place.there() == []


async def test_one_that_does_not_listen_is_killed(place: Place, idle: Store) -> None:
    async with place.opened(idle) as engine:
        handle = await engine.start(place.job("stubborn"))
        handle.terminate()
        assert handle.kill()
        assert (await handle.wait()).code in (137, GONE)
    assert place.there() == []


async def test_the_same_start_twice_makes_one(place: Place, idle: Store) -> None:
    job = place.job("holds")
    async with place.opened(idle) as engine:
        one, other = await engine.start(job), await engine.start(job)
        assert place.there() == [f"tocsin-{job.run_id}-1"]
        one.kill()
        assert (await one.wait()).code in (137, GONE)
        assert (await other.wait()).code in (137, GONE)


async def test_a_worker_that_is_started_again_finds_it(place: Place, idle: Store) -> None:
    job = place.job("holds")
    async with place.opened(idle) as before:
        first = await before.start(job)
        async with place.opened(idle) as after:
            handle = await after.start(job)
            assert len(place.there()) == 1
            handle.terminate()
            assert (await handle.wait()).code in (143, GONE)
        await first.wait()


@pytest.mark.parametrize("fault", [500, "reset"])
async def test_an_engine_that_stumbles_is_asked_again(place: Place, idle: Store, fault: int | str) -> None:
    for part in ("create", "start", "jobs"):
        place.engine.fail("POST", part, fault)
    place.engine.fail("DELETE", "", fault)
    async with place.opened(idle) as engine:
        assert await (await engine.start(place.job("done"))).wait() == Exit(0)
    assert place.there() == []


async def test_an_engine_that_is_away_for_a_while_loses_no_end(place: Place, idle: Store) -> None:
    async with place.opened(idle) as engine:
        for part in ("containers/tocsin", "/jobs", "/pods"):
            place.engine.fail("GET", part, 503, "reset")
        how = await (await engine.start(place.job("fails"))).wait()
    assert how.code == 7


async def test_an_engine_that_does_not_recover_refuses_the_start(place: Place, idle: Store) -> None:
    async with place.opened(idle) as engine:
        place.engine.fail("POST", "", *[500] * 8)
        with pytest.raises(TocsinError, match="injected"):
            await engine.start(place.job("done"))


async def test_what_is_removed_from_outside_is_noticed(place: Place, idle: Store) -> None:
    async with place.opened(idle) as engine, place.opened(idle) as other:
        handle = await engine.start(place.job("holds"))
        (name,) = place.there()
        assert isinstance(other, (Containers, Jobs))
        await (other.remove(name) if isinstance(other, Containers) else other.delete(name))
        assert (await handle.wait()).code in (137, 143, GONE)


async def test_what_outlived_its_worker_is_swept_away_and_nothing_else(place: Place, small_yard: Yard) -> None:
    yard = small_yard
    over, under_way = yard.ask("looks_around"), yard.ask("looks_around")
    with yard.store.begin() as session:
        claims.claim(session, "default", 2, lease="ours", worker="w", now=now())
    jobs = [place.job("holds", over), place.job("holds", under_way), place.job("holds")]
    async with place.opened(yard.store) as engine:
        handles = [await engine.start(job) for job in jobs]
        with yard.store.begin() as session:
            _crash(session, over)
        assert isinstance(engine, (Containers, Jobs))
        removed = [*await engine.sweep.look(), *await engine.sweep.look(), *await engine.sweep.look()]
        assert len(removed) == 1
        await handles[0].wait()
        assert place.there() == sorted(f"tocsin-{job.run_id}-1" for job in jobs[1:]), "one of another installation, too"
        for handle in handles[1:]:
            handle.kill()
            await handle.wait()


def _crash(session: Session, run: UUID) -> None:
    claims.ended(session, run, 1, Exit(1, "its worker is gone"), now())


@pytest.mark.parametrize(
    ("pull", "image", "said"),
    [
        ("missing", "done:new", None),
        ("always", "done:new", None),
        ("never", "done:new", "No such image: done:new"),
        ("missing", "nowhere:1", "image nowhere:1: it could not be pulled: manifest for nowhere:1 not found"),
    ],
)
@pytest.mark.parametrize("place", ["docker"], indirect=True)
async def test_images_are_pulled_as_the_template_says(
    place: Place, idle: Store, pull: str, image: str, said: str | None
) -> None:
    job = place.job(image, pull=pull)
    async with place.opened(idle) as engine:
        if pull == "never":
            with pytest.raises(TocsinError, match=said):
                await engine.start(job)
        else:
            how = await (await engine.start(job)).wait()
            assert how == Exit(0) if said is None else said in how.said()
    assert place.there() == []


@pytest.mark.parametrize("place", ["docker"], indirect=True)
async def test_a_run_whose_image_is_still_being_fetched_can_be_stopped(place: Place, idle: Store) -> None:
    async with place.opened(idle) as engine:
        handle = await engine.start(place.job("endless:1"))
        handle.terminate()
        assert (await handle.wait()).said() == "it was told to stop before it had begun"
        handle.terminate()
    assert place.there() == []


@pytest.mark.parametrize("place", ["docker"], indirect=True)
async def test_a_container_may_be_kept(place: Place, idle: Store) -> None:
    job = place.job("fails", auto_remove=False)
    async with place.opened(idle) as engine:
        assert (await (await engine.start(job)).wait()).code == 7
        assert place.there() == [f"tocsin-{job.run_id}-1"]


@pytest.mark.parametrize("place", ["kubernetes"], indirect=True)
async def test_a_finished_job_with_a_time_to_live_is_left_to_the_cluster(place: Place, idle: Store) -> None:
    job = place.job("fails", ttl_after_finished_s=60)
    async with place.opened(idle) as engine:
        assert (await (await engine.start(job)).wait()).code == 7
        assert place.there() == [f"tocsin-{job.run_id}-1"]


@pytest.mark.parametrize("place", ["kubernetes"], indirect=True)
async def test_an_image_that_does_not_come_ends_the_attempt_with_the_reason(place: Place, idle: Store) -> None:
    async with place.opened(idle) as engine:
        how = await (await engine.start(place.job("nowhere:1", pull_timeout_s=0.001, ttl_after_finished_s=60))).wait()
    assert "could not be pulled within 0:00:00.001000: ImagePullBackOff: no nowhere:1 anywhere" in how.said()
    assert place.there() == []


@pytest.mark.parametrize("reason", ["Evicted", "NodeLost"])
@pytest.mark.parametrize("place", ["kubernetes"], indirect=True)
async def test_a_pod_that_is_taken_away_ends_the_attempt(place: Place, idle: Store, reason: str) -> None:
    async with place.opened(idle) as engine:
        handle = await engine.start(place.job("holds"))
        assert isinstance(place.engine, KubernetesCluster)
        place.engine.lose(reason)
        assert f"because of {reason}" in (await handle.wait()).said()


@pytest.mark.parametrize("place", ["kubernetes"], indirect=True)
async def test_a_secret_reaches_the_run_and_stands_nowhere_else(
    place: Place, small_yard: Yard, serving: Serving
) -> None:
    yard = small_yard
    assert isinstance(place.engine, KubernetesCluster)
    place.engine.secrets["db/url"] = yard.store.engine.url.render_as_string(hide_password=False)
    named = {"TOCSIN_DATABASE_URL": {"name": "db", "key": "url"}}
    template = {**place.template, "image": "flows", "env_from_secret": named, "ttl_after_finished_s": 60}
    with yard.store.begin() as session:
        create_pool(session, place.kind, kind=place.kind, template=template, now=now())
    asked = yard.ask("greet", place.kind)
    async with serving(yard, pool=place.kind):
        await yard.until(asked, "Completed")
    assert place.engine.secrets["db/url"] not in json.dumps(place.engine.jobs)


async def test_a_run_that_cannot_be_started_has_crashed_with_the_reason(
    place: Place, small_yard: Yard, serving: Serving
) -> None:
    yard = small_yard
    template = {**place.template, "image": "nowhere:1", **({"pull_timeout_s": 0.001} if place.kind != "docker" else {})}
    with yard.store.begin() as session:
        create_pool(session, place.kind, kind=place.kind, template=template, now=now())
    asked = yard.ask("greet", place.kind)
    async with serving(yard, pool=place.kind):
        crashed = await yard.until(asked, "Crashed")
    assert "could not be pulled" in (crashed.state_message or "")


async def test_a_run_that_says_nothing_more_has_crashed_with_its_last_lines(
    place: Place, small_yard: Yard, serving: Serving
) -> None:
    yard = small_yard
    with yard.store.begin() as session:
        create_pool(session, place.kind, kind=place.kind, template={**place.template, "image": "fails"}, now=now())
    asked = yard.ask("greet", place.kind)
    async with serving(yard, pool=place.kind):
        crashed = await yard.until(asked, "Crashed")
    assert (crashed.state_message or "").endswith("line 39\nKeyError: 'region'")
    assert f"tocsin-{asked}-1" not in place.there()


async def test_a_run_that_is_cancelled_takes_its_container_along(
    place: Place, small_yard: Yard, serving: Serving
) -> None:
    yard = small_yard
    with yard.store.begin() as session:
        create_pool(session, place.kind, kind=place.kind, template={**place.template, "image": "stubborn"}, now=now())
    asked = yard.ask("greet", place.kind)
    async with serving(yard, pool=place.kind, grace=timedelta(milliseconds=50)):
        await yard.met(place.there)
        with yard.store.begin() as session:
            cancel_run(session, asked, now=now())
        await yard.until(asked, "Cancelled")
        await yard.met(lambda: f"tocsin-{asked}-1" not in place.there())  # another one may tell the hooks


async def test_an_engine_that_is_not_there_is_named(idle: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.flows.insisting.PAUSES_S", ())
    template = template_of("docker", {"image": "i", "host": "tcp://127.0.0.1:1"})
    infrastructure = template.infrastructure(idle)
    with pytest.raises(TocsinError, match="the Docker engine does not answer"):
        await infrastructure.open()
    await infrastructure.close()


async def test_a_cluster_that_nobody_knows_is_named(idle: Store, tmp_path: Path) -> None:
    template = template_of("kubernetes", {"image": "i", "kubeconfig": str(tmp_path / "none")})
    infrastructure = template.infrastructure(idle)
    with pytest.raises(TocsinError, match="no way to a Kubernetes cluster"):
        await infrastructure.open()
    await infrastructure.close()


@pytest.mark.parametrize(("kind", "door"), [("docker", "docker_engine"), ("kubernetes", "kubernetes_cluster")])
async def test_without_the_package_the_extra_is_named(
    idle: Store, monkeypatch: pytest.MonkeyPatch, kind: str, door: str
) -> None:
    monkeypatch.setitem(sys.modules, kind, None)
    monkeypatch.delitem(sys.modules, f"tocsin.flows.{door}", raising=False)
    infrastructure = template_of(kind, {"image": "i"}).infrastructure(idle)
    with pytest.raises(Invalid, match=f"needs the extra `{kind}`"):
        await infrastructure.open()
    await infrastructure.close()
