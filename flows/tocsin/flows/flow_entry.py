"""How a flow run begins: as a new run, as one that a worker has claimed, or as that of an earlier attempt."""

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from tocsin.events.errors import Invalid, Unavailable
from tocsin.events.ids import uuid7
from tocsin.flows import results
from tocsin.flows.book import Book
from tocsin.flows.changes import Columns
from tocsin.flows.context import FlowContext
from tocsin.flows.errors import Superseded
from tocsin.flows.flow_reports import report
from tocsin.flows.flow_requests import FindSubflow, Recall, Reported, RestartSubflow, StartRun
from tocsin.flows.keys import input_hash
from tocsin.flows.ledger import current
from tocsin.flows.portable import portable, shown
from tocsin.flows.states import running

logger = logging.getLogger(__name__)

# Any below: users' arguments and results.


class Done:
    """A subflow run that an earlier attempt of its parent has completed."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Entry(msgspec.Struct, frozen=True):
    """What begins: the flow with its arguments, in a flow run (`parent`) or by itself, under a name of its own."""

    flow: Any
    named: Mapping[str, Any]
    parent: FlowContext | None = None
    name: str | None = None

    def claimed(self, run: Columns) -> FlowContext:
        """A stored run that this process was started for; what earlier attempts have completed comes with it."""
        context = FlowContext(current(), run, deployed=True, resumes=True, log_prints=bool(self.flow.log_prints))
        also: Columns = {"flow_version": self.flow.version} | ({"name": self.name} if self.name else {})
        report(context, running(run["attempt"]), **also)
        _recall(context)
        return context

    def begun(self) -> FlowContext | Done:
        """A new run; or, in a parent that is tried again, the run of the attempt before."""
        flow, parent = self.flow, self.parent
        if parent is None or not parent.resumes:
            return self._new(parent.ledger if parent else current(), None)
        try:
            key = parent.resume_key(f"flow {flow.name}", input_hash(self.named))
        except Invalid as error:
            logger.warning("subflow %s will run again if its parent is resumed: %s", flow.name, error)
            return self._new(parent.ledger, None)
        if key in parent.done:
            return Done(results.fetch(parent.done[key], flow.keeping))
        return self._former(parent, key) or self._new(parent.ledger, key)

    def _new(self, ledger: Book, key: str | None) -> FlowContext:
        now, identity = ledger.clock.now(), uuid7()
        flow, parent = self.flow, self.parent
        columns = {
            "id": identity,
            "name": self.name or f"{flow.name}-{identity.hex[-6:]}",
            "flow_name": flow.name,
            "flow_version": flow.version,
            "parameters": shown(portable(self.named)),
            "tags": list(flow.tags),
            "lease": ledger.lease,
            "created": now,
        }
        if parent is not None:
            columns |= _of_parent(parent, key, ledger)
        run = ledger.ask(StartRun(run=columns, state=running(), now=now))
        if run is None:
            raise Superseded(f"subflow {flow.name} is being run by another attempt of its parent")
        return self._context(ledger, run, key)

    def _former(self, parent: FlowContext, key: str) -> FlowContext | Done | None:
        """The run of this subflow in an earlier attempt of its parent: its result, or the run, started again."""
        ledger = parent.ledger
        row = ledger.ask(FindSubflow(key=_child_key(parent, key)))
        if row is None:
            return None
        if row["state_type"] == "COMPLETED" and row["result"]:
            try:
                return Done(results.fetch(row["result"], self.flow.keeping))
            except Unavailable as error:
                logger.warning("subflow run %s runs again: %s", row["name"], error)
        lease, now = parent.run["lease"] or ledger.lease, ledger.clock.now()
        restart = RestartSubflow(run_id=row["id"], lease=lease, transition=uuid7().hex, now=now)
        reported: Reported = ledger.ask(restart)
        if reported.refused:
            raise Superseded(f"subflow run {row['name']} cannot be run again: {reported.refused}")
        context = self._context(ledger, reported.run, key)
        if context.deployed:
            _recall(context)
        return context

    def _context(self, ledger: Book, run: Columns, key: str | None) -> FlowContext:
        flow, parent = self.flow, self.parent
        deployed = parent is not None and parent.deployed
        resumes = deployed or flow.retries > 0 or (parent is not None and parent.resumes)
        prints = parent is not None and parent.log_prints if flow.log_prints is None else flow.log_prints
        context = FlowContext(ledger, run, deployed=deployed, resumes=resumes, log_prints=prints)
        if parent is not None and key is not None:
            context.key = key
            context.done = parent.inner.setdefault(key, {})
        return context


def _of_parent(parent: FlowContext, key: str | None, ledger: Book) -> Columns:
    """The columns that a subflow's run has from its parent."""
    return {
        "parent_run_id": parent.id,
        "depth": parent.run["depth"],
        "chain": parent.run["chain"],
        "idempotency_key": _child_key(parent, key) if key else None,
        "lease": parent.run["lease"] or ledger.lease,
    }


def _recall(context: FlowContext) -> None:
    """Results and waiting task runs of earlier attempts."""
    for row in context.ledger.ask(Recall(run_id=context.id)):
        if row["state_type"] == "COMPLETED" and row["result"]:
            context.done[row["resume_key"]] = row["result"]
        elif row["state_name"] == "AwaitingRetry":
            context.waiting[row["resume_key"]] = row


def _child_key(parent: FlowContext, key: str) -> str:
    return f"subflow:{parent.id}:{key}"
