"""The two programs of a lesson about another engine, as they stand there, and the warehouse that they expect."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from tests.postgres.cluster import Cluster

LESSON: Final = Path(
    os.environ.get("TOCSIN_TEST_LESSON") or Path(__file__).parents[3] / "shared/seed/prefect-lesson.txt"
)
SHIMS: Final = Path(__file__).with_name("sqlalchemy1")
TITLES: Final = {
    "daily_order_etl": "Complete ETL Pipeline with Prefect",
    "dynamic_table_pipeline": "Dynamic Workflow with Task Mapping",
}
BEGINS: Final = re.compile(r"^from prefect import", re.MULTILINE)
ENDS: Final = re.compile(r"^    (?:deployment\.apply\(\)|print\(result\))$", re.MULTILINE)


def cut(title: str) -> str:
    """The program under this title, with `tocsin.flows` for `prefect` in its imports and nothing else changed.

    It begins with the import of the other engine and ends with the last line of its main part; what stands around
    it was put into the wrong encoding somewhere, and is not looked at.
    """
    if not LESSON.is_file():
        pytest.skip(f"the lesson is not there; name its file in TOCSIN_TEST_LESSON (looked for {LESSON.name})")
    rest = LESSON.read_text(encoding="utf-8", errors="replace").partition(f"\n{title}\n")[2]
    begins = BEGINS.search(rest)
    assert begins, f"no program under {title!r}"
    program = rest[begins.start() :].partition("\nPrefect vs Airflow")[0].partition("\nDynamic Workflow")[0]
    *_, end = ENDS.finditer(program)
    return re.sub(r"^from prefect\b", "from tocsin.flows", program[: end.end()], flags=re.MULTILINE) + "\n"


class Warehouse:
    """The database `db` of `user` on `host`: libpq finds the server by PGHOSTADDR and PGPORT."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster, self._folder = cluster, folder
        self._port = str(cluster.admin.port)
        self._admin("CREATE ROLE \"user\" LOGIN PASSWORD 'pass'", 'CREATE DATABASE db OWNER "user"')
        url = cluster.admin.set(drivername="postgresql+psycopg", database="db", username="user", password="pass")
        self.engine: Engine = create_engine(url)

    def run(self, name: str, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The program's process, ended; it works in a folder of its own."""
        file = self._folder / f"{name}.py"
        file.write_text(program)
        return self.python(str(file), *arguments)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A Python that reaches the warehouse by the lesson's address and knows SQLAlchemy 1's calls."""
        known = {"PGHOSTADDR": "127.0.0.1", "PGPORT": self._port, "PYTHONPATH": str(SHIMS)}
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, env=os.environ | known, cwd=self._folder, capture_output=True, text=True, timeout=200
        )

    def execute(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with self.engine.begin() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def close(self) -> None:
        """Leave nothing of it on the server."""
        self.engine.dispose()
        self._admin("DROP DATABASE db WITH (FORCE)", 'DROP ROLE "user"')

    def _admin(self, *statements: str) -> None:
        url = make_url(str(self._cluster.admin.render_as_string(hide_password=False)))
        engine = create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()
