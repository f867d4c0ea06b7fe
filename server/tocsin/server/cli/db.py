"""`tocsin db`: bring the database to the form that this version needs."""

import asyncio
from typing import Annotated

from cyclopts import App, Parameter

from tocsin.server.cli.out import Output, show_one
from tocsin.server.settings import load, share
from tocsin.server.wiring import make_topics

app = App(name="db", help="Upgrade the database.")


@app.command
def upgrade(
    *,
    wait: Annotated[float, Parameter(help="Seconds to wait for the database to answer.")] = 0,
    output: Output = "table",
) -> None:
    """Make the tables, or bring them up to date; with a broker in the settings, make the topics that it lacks.

    Running it again changes nothing; two at once do no harm.
    """
    from tocsin.server.migrate import upgrade as bring_up

    settings = load()
    share(settings)
    upgraded = bring_up(settings.url, wait_s=wait)
    asyncio.run(make_topics(settings))
    show_one({**upgraded._asdict(), "kafka": settings.kafka_bootstrap_servers}, output)
