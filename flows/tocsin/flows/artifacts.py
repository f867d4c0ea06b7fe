"""Artifacts: what a run leaves for people to look at. Texts, tables, links, images, progress.

Under a `key` every version is kept, the newest first. An artifact belongs to the run whose code makes it; outside of
runs it belongs to none. Texts are masked like the lines of logs. Each function has a twin for coroutines, whose name
begins with `a`: the loop stays free while the artifact is stored.
"""

import json
import math
import re
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from tocsin.events.errors import Invalid
from tocsin.events.ids import uuid7
from tocsin.events.model import CHAIN, DEPTH, RESOURCE_ID, RESOURCE_NAME, RESOURCE_ROLE
from tocsin.flows import results
from tocsin.flows.artifact_requests import Artifact, CreateArtifact, FindArtifacts, UpdateProgress
from tocsin.flows.awaited import awaited
from tocsin.flows.book import Book
from tocsin.flows.context import FlowContext, flow_context, task_context
from tocsin.flows.ledger import current
from tocsin.flows.portable import clean, masked
from tocsin.flows.tabular import tabular

LARGEST: Final = 10_000_000
"""Characters of JSON that an artifact may have."""
LONGEST: Final = 10_000
"""Characters of a description."""
_KEY: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,254}")
_REFUSED: Final = frozenset({"", "data", "javascript", "vbscript"})

# Any below: the body of an artifact is JSON.


def create_markdown_artifact(markdown: str, key: str | None = None, description: str | None = None) -> UUID:
    """Keep a text in Markdown; the new version's id. Raises Invalid for a bad key, or more than LARGEST characters."""
    if not isinstance(markdown, str):
        raise Invalid(f"a markdown artifact takes a text; this is a {type(markdown).__name__}")
    return _create("markdown", markdown, key, description)


def create_table_artifact(table: object, key: str | None = None, description: str | None = None) -> UUID:
    """Keep a table: a list of dicts (rows), a dict of lists (columns), or a DataFrame (without its index).

    Raises Invalid like the others, and for what is no table.
    """
    return _create("table", tabular(table), key, description)


def create_link_artifact(
    link: str, link_text: str | None = None, key: str | None = None, description: str | None = None
) -> UUID:
    """Keep a link. Raises Invalid like the others, and for an address without a scheme, or one that runs code."""
    return _create("link", {"url": _address(link), "text": link_text or link}, key, description)


def create_image_artifact(image_url: str, key: str | None = None, description: str | None = None) -> UUID:
    """Keep the address of an image (http or https). Raises Invalid like the others."""
    if urlsplit(_address(image_url)).scheme not in ("http", "https"):
        raise Invalid(f"image {clean(masked(image_url), 100)!r}: give its http or https address")
    return _create("image", {"url": image_url}, key, description)


def create_progress_artifact(progress: float, key: str | None = None, description: str | None = None) -> UUID:
    """Keep a progress from 0 to 100; `update_progress_artifact` moves it on. Raises Invalid like the others."""
    return _create("progress", _percentage(progress), key, description)


def update_progress_artifact(artifact_id: UUID, progress: float, description: str | None = None) -> UUID:
    """Move a progress on: the same version, no event. Raises Invalid, NotFound."""
    if not isinstance(artifact_id, UUID):
        raise Invalid(f"progress {artifact_id!r}: give the id that create_progress_artifact returned")
    said = None if description is None else _said(description)
    book = _book()
    book.ask(UpdateProgress(id=artifact_id, progress=_percentage(progress), description=said, now=book.clock.now()))
    return artifact_id


def get_artifact(name: str | UUID) -> Artifact:
    """The newest version under a key, or the one with this id. Raises NotFound."""
    return artifact_history(str(name), limit=1)[0]


def artifact_history(key: str, limit: int = 100) -> list[Artifact]:
    """The versions under a key, the newest first. Raises NotFound."""
    found: list[Artifact] = _book().ask(FindArtifacts(name=key, limit=limit))
    return found


create_markdown = create_markdown_artifact
acreate_markdown_artifact = awaited(create_markdown_artifact)
acreate_table_artifact = awaited(create_table_artifact)
acreate_link_artifact = awaited(create_link_artifact)
acreate_image_artifact = awaited(create_image_artifact)
acreate_progress_artifact = awaited(create_progress_artifact)
aupdate_progress_artifact = awaited(update_progress_artifact)
aget_artifact = awaited(get_artifact)
aartifact_history = awaited(artifact_history)


def _create(kind: str, body: Any, key: str | None, description: str | None) -> UUID:
    if key is not None and not _KEY.fullmatch(key):
        raise Invalid(f"artifact key {key!r}: lower case letters, digits and dashes, a dash not first, at most 255")
    covered = _covered(body)
    text = json.dumps(covered)
    if len(text) > LARGEST:
        raise Invalid(
            f"artifact {key or kind}: {len(text):,} characters, at most {LARGEST:,} can be kept; "
            "keep the data elsewhere and link to it with create_link_artifact"
        )
    small = len(text) <= results.INLINE
    flow, task, book = flow_context.get(), task_context.get(), _book()
    labels, related = _relations(flow)
    identity = uuid7()
    book.ask(
        CreateArtifact(
            id=identity,
            key=key,
            kind=kind,
            description=_said(description or ""),
            body=text if small else None,
            reference=None if small else results.keep(covered),
            size=len(text),
            flow_run_id=flow.id if flow else None,
            task_run_id=task.run["id"] if task else None,
            labels=labels,
            related=related + ([_related("task-run", task.run["id"], task.run["name"])] if task else []),
            now=book.clock.now(),
        )
    )
    return identity


def _book() -> Book:
    flow = flow_context.get()
    return flow.ledger if flow else current()


def _relations(flow: FlowContext | None) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The labels by which the loop guard knows which automations stand behind a run, and what the run belongs to."""
    if flow is None:
        return {}, []
    run = flow.run
    behind = {DEPTH: str(run["depth"]) if run["depth"] else "", CHAIN: run["chain"]}
    related = [_related("flow-run", run["id"], run["name"]), _related("flow", run["flow_name"], run["flow_name"])]
    if run["deployment"]:
        related.append(_related("deployment", run["deployment"], run["deployment"]))
    return {label: value for label, value in behind.items() if value}, related


def _related(role: str, identity: object, name: str) -> dict[str, str]:
    return {RESOURCE_ID: f"tocsin.{role}.{identity}", RESOURCE_ROLE: role, RESOURCE_NAME: name}


def _covered(value: Any) -> Any:
    """JSON with every text in it as it may be shown."""
    match value:
        case str():
            return masked(clean(value, LARGEST + 1))
        case list():
            return [_covered(entry) for entry in value]
        case dict():
            return {_covered(name): _covered(entry) for name, entry in value.items()}
    return value


def _said(description: str) -> str:
    return masked(clean(description, LONGEST))


def _address(link: str) -> str:
    scheme = urlsplit(link).scheme.lower()
    if scheme in _REFUSED or any(character.isspace() for character in link):
        raise Invalid(f"link {clean(masked(link), 100)!r}: give a whole address, such as https://example.com/report")
    return link


def _percentage(progress: float) -> float:
    if isinstance(progress, bool) or not isinstance(progress, int | float) or not math.isfinite(progress):
        raise Invalid(f"progress {progress!r}: give a number from 0 to 100")
    if not 0 <= progress <= 100:
        raise Invalid(f"progress {progress}: it goes from 0 to 100")
    return float(progress)
