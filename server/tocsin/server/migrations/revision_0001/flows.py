"""The tables of flows as revision 0001 made them. Frozen."""

from tocsin.server.migrations.forms import (
    BIG,
    FLAG,
    JSON,
    NAME,
    NUMBER,
    SEQUENCE,
    TEXT,
    TIME,
    UUID,
    index,
    may,
    must,
    table,
    unique,
)


def make() -> None:
    """Make the tables of flows."""
    _cache_entry()
    _deployment()
    _flow_run()
    _flow_run_rerun()
    _log_line()
    _task_run()
    _work_pool()
    _work_queue()
    _worker()


def _cache_entry() -> None:
    table(
        "cache_entry",
        *must(NAME, "key", "task_key"),
        *must(JSON, "result"),
        *must(UUID, "task_run_id"),
        *must(TIME, "created"),
        *may(TIME, "expires"),
        key=("key",),
    )
    index("cache_entry", "expires")


def _deployment() -> None:
    table(
        "deployment",
        *must(NAME, "name", "flow_name", "entrypoint"),
        *may(NAME, "path"),
        *must(NAME, "work_pool", "work_queue"),
        *must(TEXT, "description"),
        *must(JSON, "parameters", "schedules", "tags"),
        *must(FLAG, "paused"),
        *may(NUMBER, "concurrency_limit"),
        *must(NAME, "collision_strategy"),
        *must(NUMBER, "version"),
        *must(TIME, "created", "updated"),
        key=("name",),
    )
    index("deployment", "work_pool")


def _flow_run() -> None:
    table(
        "flow_run",
        *must(UUID, "id"),
        *must(NAME, "name", "flow_name"),
        *may(NAME, "flow_version", "deployment", "work_pool", "work_queue"),
        *must(JSON, "parameters", "tags"),
        *may(UUID, "parent_run_id"),
        *may(NAME, "idempotency_key"),
        *may(JSON, "creator"),
        *may(UUID, "cause"),
        *must(NUMBER, "depth"),
        *must(TEXT, "chain"),
        *may(NAME, "series"),
        *may(BIG, "turn"),
        *may(NUMBER, "room"),
        *must(NAME, "state_type", "state_name"),
        *must(TEXT, "state_message"),
        *must(TIME, "state_at"),
        *may(JSON, "fault"),
        *may(TIME, "scheduled"),
        *must(NUMBER, "attempt", "retries", "reruns", "version"),
        *may(NAME, "transition", "lease", "worker"),
        *may(JSON, "result"),
        *must(TIME, "created"),
        *may(TIME, "started", "ended"),
        *may(JSON, "waits_for"),
        *may(TIME, "waits_until"),
        unique("flow_run", "idempotency_key"),
        key=("id",),
    )
    index("flow_run", "created")
    index("flow_run", "deployment", "created")
    index("flow_run", "parent_run_id")
    index("flow_run", "scheduled", where="state_type = 'SCHEDULED' AND state_name = 'Scheduled'")
    index("flow_run", "series", where="series IS NOT NULL AND ended IS NULL")
    index("flow_run", "state_type", "lease")
    index("flow_run", "waits_until", where="waits_until IS NOT NULL")
    index("flow_run", "work_pool", "state_type", "scheduled")


def _flow_run_rerun() -> None:
    table(
        "flow_run_rerun",
        *must(NAME, "key"),
        *must(UUID, "flow_run_id"),
        *must(TIME, "asked"),
        *may(UUID, "cause"),
        key=("key",),
    )
    index("flow_run_rerun", "flow_run_id")


def _log_line() -> None:
    table(
        "log_line",
        *must(SEQUENCE, "id"),
        *may(UUID, "flow_run_id", "task_run_id"),
        *must(TIME, "at"),
        *must(NUMBER, "level"),
        *must(NAME, "logger"),
        *must(TEXT, "message"),
        key=("id",),
    )
    index("log_line", "flow_run_id", "id")
    index("log_line", "task_run_id", "id")
    index("log_line", "at")


def _task_run() -> None:
    table(
        "task_run",
        *must(UUID, "id"),
        *must(NAME, "name", "task_name", "task_key"),
        *may(UUID, "flow_run_id"),
        *may(NAME, "resume_key"),
        *must(JSON, "tags"),
        *must(NAME, "state_type", "state_name"),
        *must(TEXT, "state_message"),
        *must(TIME, "state_at"),
        *may(JSON, "fault"),
        *may(TIME, "scheduled"),
        *must(NUMBER, "attempt", "retries", "version"),
        *may(NAME, "lease"),
        *may(JSON, "result"),
        *must(TIME, "created"),
        *may(TIME, "started", "ended"),
        key=("id",),
    )
    index("task_run", "flow_run_id", "resume_key")
    index("task_run", "state_type", "flow_run_id")


def _work_pool() -> None:
    table(
        "work_pool",
        *must(NAME, "name", "type"),
        *must(JSON, "template"),
        *must(FLAG, "paused"),
        *may(NUMBER, "concurrency"),
        *must(TIME, "created"),
        key=("name",),
    )


def _work_queue() -> None:
    table(
        "work_queue",
        *must(NAME, "pool", "name"),
        *must(FLAG, "paused"),
        *must(NUMBER, "priority"),
        *may(NUMBER, "concurrency"),
        *must(TIME, "created"),
        key=("pool", "name"),
    )


def _worker() -> None:
    table(
        "worker",
        *must(NAME, "name", "work_pool"),
        *may(JSON, "queues"),
        *must(NUMBER, "slots"),
        *must(NAME, "lease", "host"),
        *must(NUMBER, "pid"),
        *must(TIME, "started"),
        *may(TIME, "stopped"),
        key=("name",),
    )
    index("worker", "work_pool")
