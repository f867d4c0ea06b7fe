"""`tocsin artifact`: what runs left for people to look at."""

from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from tocsin.flows import artifact_requests as artifacts
from tocsin.flows.artifact_tables import ArtifactRow
from tocsin.server import reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Limit, Output, plain, show_one, show_rows

app = App(name="artifact", help="List, show and remove artifacts: texts, tables, links that runs leave.")

Name = Annotated[str, Parameter(help="Key of an artifact, or the id of one version (or its beginning).")]
_COLUMNS = ("created", "key", "type", "description", "size", "flow_run_id", "id")


@app.command
def ls(
    *,
    kind: Annotated[str | None, Parameter(name="--type", help="Only markdown, table, link, image or progress.")] = None,
    run: Annotated[str | None, Parameter(help="Only those of this flow run (id or name).")] = None,
    every: Annotated[bool, Parameter(name="--all", help="Every version, not only the newest.", negative=())] = False,
    limit: Limit = 50,
    output: Output = "table",
) -> None:
    """List artifacts, newest first: of each key the newest version."""
    with opened() as store, store.read() as session:
        run_id = reads.run_named(session, run) if run is not None else None
        found = artifacts.list_artifacts(session, every=every, type=kind, flow_run_id=run_id, limit=limit)
        rows = [_row(one) for one in found]
    nothing = "no artifacts; a flow makes one with create_markdown_artifact"
    show_rows(rows, output, _COLUMNS, nothing, short=("id", "flow_run_id"), limit=limit)


@app.command
def show(name: Name, /, *, output: Output = "table") -> None:
    """Show an artifact, the newest version of a key: a text as it stands, a table as one."""
    with opened() as store, store.read() as session:
        found = artifacts.read_row(artifacts.versions(session, name)[0])
    match found.body:
        case _ if output == "json":
            show_one(msgspec.structs.asdict(found), output)
        case str() as text:
            print(plain(text))
        case {"columns": columns, "rows": rows}:
            numbered = [dict(zip(columns, row, strict=True)) for row in rows]
            show_rows(numbered, output, columns, "no rows")
        case {"url": url}:
            print(plain(url))
        case progress:
            print(f"{progress:g} %")


@app.command
def history(name: Name, /, *, limit: Limit = 50, output: Output = "table") -> None:
    """List the versions under a key, newest first."""
    with opened() as store, store.read() as session:
        rows = [_row(one) for one in artifacts.versions(session, name, limit=limit)]
    show_rows(rows, output, _COLUMNS, "", short=("flow_run_id",), limit=limit)


@app.command(name=["rm", "remove"])
def remove(name: Name, /, *, output: Output = "table") -> None:
    """Forget every version under a key, or the one with this id."""
    with opened() as store, store.begin() as session:
        count = artifacts.remove_artifacts(session, name)
    show_rows([{"name": name, "change": "removed", "versions": count}], output, ("name", "change", "versions"), "")


def _row(row: ArtifactRow) -> dict[str, Any]:  # Any: the row's columns
    return {name: value for name, value in row.model_dump().items() if name not in ("body", "reference")}
