"""Every table.

Revision 0001, the first. Frozen: it names no table of the code, which goes on changing.
"""

from alembic import op

from tocsin.server.migrations.revision_0001 import (
    artifacts,
    automations,
    blocks,
    cache,
    channels,
    flows,
    hooks,
    inputs,
    limits,
    notifiers,
    presence,
    remote,
    routing,
    store,
    tally,
    triggers,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The numbers of the log: drawn after the transaction has its id, so that a reader of a gap can tell when it is settled.
NEXT_SEQ = """
CREATE OR REPLACE FUNCTION tocsin_next_seq() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_current_xact_id();
  RETURN nextval('log_seq_seq');
END $$
"""


def upgrade() -> None:
    """Make every table; on PostgreSQL also what numbers the log."""
    for room in (
        routing,
        store,
        flows,
        cache,
        presence,
        inputs,
        remote,
        triggers,
        hooks,
        automations,
        notifiers,
        channels,
        tally,
        limits,
        artifacts,
        blocks,
    ):
        room.make()
    if op.get_bind().dialect.name == "postgresql":
        op.execute(NEXT_SEQ)
        op.execute("ALTER TABLE log ALTER COLUMN seq SET DEFAULT tocsin_next_seq()")


def downgrade() -> None:
    """There is no way back: restore a backup."""
    raise NotImplementedError("restore a backup")
