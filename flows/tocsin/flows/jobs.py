"""From claimed runs to jobs: with where the flow is, and with the template of the pool as it is by now."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlmodel import Session, col, select

from tocsin.events.errors import NotFound
from tocsin.flows.changes import Columns, propose
from tocsin.flows.decide import Context
from tocsin.flows.infrastructure import Job, template_of
from tocsin.flows.pools import get_pool
from tocsin.flows.states import failed
from tocsin.flows.tables import DeploymentRow


def jobs_of(
    session: Session, pool: str, runs: Sequence[Columns], environment: Mapping[str, str], now: datetime
) -> list[Job]:
    """A job for each claimed run of the pool. A run whose deployment is gone has failed and gets none."""
    row = get_pool(session, pool)
    template = template_of(row.type, row.template)
    found = _deployments(session, {run["deployment"] for run in runs})
    jobs = []
    for run in runs:
        if (deployment := found.get(run["deployment"])) is None:
            _lost(session, run, now)
        else:
            jobs.append(Job(run, deployment.entrypoint, deployment.path, template, environment))
    return jobs


def _deployments(session: Session, names: Iterable[str]) -> dict[str, DeploymentRow]:
    statement = select(DeploymentRow).where(col(DeploymentRow.name).in_(sorted(names)))
    return {row.name: row for row in session.exec(statement)}


def _lost(session: Session, run: Columns, now: datetime) -> None:
    error = NotFound(f"deployment {run['deployment']!r}: there is none of this name (any more)")
    propose(session, run["id"], failed(error), Context(attempt=run["attempt"]), now)
