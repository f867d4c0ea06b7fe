"""How Alembic meets the database: on the connection that `tocsin.server.migrate` gives it."""

from alembic import context

from tocsin.server.migrate import configure

# Alembic puts an EnvironmentContext behind this module.
configure(context)  # type: ignore[arg-type]
with context.begin_transaction():
    context.run_migrations()
