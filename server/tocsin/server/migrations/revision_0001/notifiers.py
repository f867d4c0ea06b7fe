"""The tables of notifiers as revision 0001 made them. Frozen."""

from tocsin.server.migrations.forms import (
    FLAG,
    JSON,
    NAME,
    NUMBER,
    TEXT,
    TIME,
    UUID,
    index,
    may,
    must,
    reference,
    table,
    unique,
)


def make() -> None:
    """Make the tables of notifiers."""
    _incident()
    _alert()
    _notifier()
    _receiver_state()
    _delivery()
    _attempt()


def _incident() -> None:
    live = "state IN ('waiting', 'open', 'acknowledged', 'settling')"
    table(
        "incident",
        *must(UUID, "id", "key_id"),
        *must(TEXT, "key"),
        *must(NUMBER, "episode"),
        *must(NAME, "route"),
        *must(JSON, "node", "grouped"),
        *must(NAME, "state"),
        *must(FLAG, "lasting"),
        *must(NUMBER, "revision"),
        *must(NAME, "severity"),
        *must(TEXT, "subject"),
        *must(JSON, "labels"),
        *must(NAME, "dedup_key"),
        *must(NUMBER, "depth"),
        *must(TEXT, "chain"),
        *must(TIME, "opened", "updated"),
        *may(TIME, "resolved"),
        *must(UUID, "event_id"),
        *may(UUID, "resolved_by"),
        *must(NAME, "closed_by"),
        *may(TIME, "due"),
        *must(NUMBER, "firing"),
        *must(FLAG, "news"),
        *may(TIME, "said", "wait_until", "settle_at", "repeat_at", "escalate_at", "ack_until"),
        *must(NUMBER, "level", "rounds"),
        *must(JSON, "flaps"),
        *must(FLAG, "flapping"),
        *may(TEXT, "suppressed"),
        *may(TIME, "muted_until"),
        *must(NAME, "acked_by", "was"),
        *must(JSON, "storms"),
        unique("incident", "key_id", "episode"),
        key=("id",),
    )
    index("incident", "key_id", name="ix_incident_one_open", unique=True, where=live)
    index("incident", "due", name="ix_incident_due", where="due IS NOT NULL")
    index("incident", "state", "opened")


def _alert() -> None:
    table(
        "alert",
        *must(UUID, "incident_id", "fingerprint"),
        *must(TEXT, "identity", "source"),
        *must(NAME, "status", "severity"),
        *must(TEXT, "subject", "body"),
        *must(JSON, "labels", "items"),
        *must(NUMBER, "total"),
        *must(JSON, "words"),
        *must(UUID, "event_id"),
        *may(UUID, "ended_by"),
        *must(TIME, "starts", "fired"),
        *may(TIME, "ends"),
        reference("alert", "incident_id", "incident", "id"),
        key=("incident_id", "fingerprint"),
    )
    index("alert", "fingerprint", name="ix_alert_held", where="status IN ('firing', 'closed')")
    index("alert", "incident_id", "starts", name="ix_alert_newest", where="status = 'firing'")


def _notifier() -> None:
    table(
        "notifier",
        *must(NAME, "name", "kind"),
        *must(JSON, "config"),
        *must(TEXT, "secrets"),
        *must(TIME, "created", "updated"),
        key=("name",),
    )


def _receiver_state() -> None:
    table("receiver_state", *must(NAME, "receiver"), *may(TIME, "not_before"), *may(TEXT, "reason"), key=("receiver",))


def _delivery() -> None:
    table(
        "delivery",
        *must(UUID, "id", "incident_id"),
        *must(NAME, "receiver"),
        *must(NUMBER, "revision"),
        *must(NAME, "action", "state"),
        *must(TIME, "due"),
        *may(UUID, "lease"),
        *must(NUMBER, "tries"),
        *must(FLAG, "minimal", "maybe_told"),
        *must(TIME, "since"),
        *must(JSON, "view"),
        *may(JSON, "handle"),
        *may(TEXT, "reason"),
        *must(TIME, "updated"),
        unique("delivery", "incident_id", "receiver", "revision"),
        reference("delivery", "incident_id", "incident", "id"),
        key=("id",),
    )
    index("delivery", "receiver", "since", name="ix_delivery_calls", where="action = 'trigger'")
    index("delivery", "receiver", "due", name="ix_delivery_live", where="state IN ('pending', 'sending', 'unknown')")


def _attempt() -> None:
    table(
        "attempt",
        *must(UUID, "id"),
        *may(UUID, "delivery_id"),
        *must(NAME, "receiver", "action"),
        *must(TIME, "at"),
        *must(NAME, "outcome"),
        *may(NUMBER, "status"),
        *must(NUMBER, "took_ms", "waited_ms", "size"),
        *may(TEXT, "reason"),
        reference("attempt", "delivery_id", "delivery", "id"),
        key=("id",),
    )
    index("attempt", "delivery_id", "at")
    index("attempt", "receiver", "at")
