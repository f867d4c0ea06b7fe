"""A PostgreSQL server of the tests' own: temporary folder, free loopback port, gone when the tests are."""

from __future__ import annotations

import hashlib
import hmac
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
import uuid
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from tests.ports import free_port

START_TIMEOUT_S = 60.0
SETTINGS = ("shared_buffers=32MB", "max_connections=200", "unix_socket_directories=", "timezone=UTC")
# Only the crash of the whole machine needs fsync; a server that is killed finds its writes in the page cache.
# No test lives long enough to need a vacuum, and one in the background would take processor and locks at random.
FAST = ("fsync=off", "full_page_writes=off", "autovacuum=off")

# The shell stands between us and the server. A line on its input stops the server; the end of its input, which comes
# however the test run ends (`kill -9` too), stops the server and removes the folder.
GUARD = """
"$@" >>"$FOLDER/server.log" 2>&1 &
server=$!
read -r keep || keep=
kill -INT "$server" 2>/dev/null
wait "$server"
[ -n "$keep" ] || rm -rf "$FOLDER"
"""


class NoPostgres(Exception):
    """This machine has no PostgreSQL; the text says where it was looked for and the way out."""


class Databases(Protocol):
    """A server that makes databases for tests."""

    def create(self, template: str | None = None) -> str:
        """Make a database and give its URL; empty, or a copy of the one at the URL `template`."""

    def drop(self, url: str) -> None:
        """Remove the database at `url`, whoever is still connected to it."""

    def stop(self) -> None:
        """Let go of what was started."""


class Server:
    """Databases on a server that is there already; `url` names one an administrator may connect to."""

    def __init__(self, url: str) -> None:
        self.admin: URL = make_url(url).set(drivername="postgresql")
        self._connection: psycopg.Connection | None = None

    def create(self, template: str | None = None) -> str:
        """Make a database and give its URL; empty, or a copy of the one at the URL `template`."""
        name = f"tocsin_{uuid.uuid4().hex[:16]}"
        source = make_url(template).database if template else "template0"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'")
        self._execute(statement.format(sql.Identifier(name), sql.Identifier(str(source))))
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove the database at `url`, whoever is still connected to it."""
        name = str(make_url(url).database)
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self) -> None:
        """Let go of the connection: the server is not ours."""
        self.hang_up()

    def hang_up(self) -> None:
        """Close the administrator's connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database, with its password."""
        url = self.admin.set(drivername="postgresql+psycopg", database=database)
        return url.render_as_string(hide_password=False)

    def _execute(self, statement: sql.Composed) -> None:
        if self._connection is None:
            address = self.admin.render_as_string(hide_password=False)
            self._connection = psycopg.connect(address, autocommit=True, connect_timeout=60)
        self._connection.execute(statement)


class Cluster(Server):
    """A server of our own. `start()` it; `kill()` and `restart()` are for the tests of faults."""

    def __init__(self, settings: Sequence[str] = FAST) -> None:
        self.bin = binaries()
        self.account = unprivileged()
        self.settings = (*SETTINGS, *settings)
        self.folder = Path(tempfile.mkdtemp(prefix="tocsin-postgres-"))
        self.guard: subprocess.Popen[bytes] | None = None
        self._connection = None
        self.password = secrets.token_hex(16)
        self._initialise()

    def start(self) -> None:
        """Start the server on a free port and wait until it answers; raises RuntimeError with its log."""
        for _ in range(3):
            self.launch(free_port())
            if self._answers():
                self._execute(sql.SQL("ALTER ROLE tocsin PASSWORD {}").format(sql.Literal(verifier(self.password))))
                return
            self._halt(keep=True)
        raise RuntimeError(f"PostgreSQL did not start; its log says:\n{self.log()}")

    def restart(self) -> None:
        """Stop the server, if it still runs, and start it on the same port with the same data."""
        port = self.admin.port
        self._halt(keep=True)
        self.launch(port or free_port())
        if not self._answers():
            raise RuntimeError(f"PostgreSQL did not come back; its log says:\n{self.log()}")

    def kill(self) -> None:
        """`kill -9` of the server: open transactions are lost, committed ones are not."""
        self.hang_up()
        pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, 9)

    def stop(self) -> None:
        """Stop the server and remove its folder."""
        if self.guard is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._halt(keep=False)

    def log(self) -> str:
        """The last lines the server wrote."""
        file = self.folder / "server.log"
        return "\n".join(file.read_text(errors="replace").splitlines()[-20:]) if file.exists() else "(nothing)"

    def launch(self, port: int) -> None:
        """Start the server behind its guard, without waiting for it."""
        flags = [word for setting in self.settings for word in ("-c", setting)]
        server = [str(self.bin / "postgres"), "-D", str(self.folder / "data"), "-h", "127.0.0.1", "-p", str(port)]
        self.admin = URL.create("postgresql", "tocsin", self.password, "127.0.0.1", port, "postgres")
        self.guard = self._as_account(["sh", "-c", GUARD, "guard", *server, *flags])

    def _initialise(self) -> None:
        pwfile = self.folder / "password"
        pwfile.write_text(self.password)
        if self.account:
            for path in (self.folder, pwfile):
                os.chown(path, self.account.pw_uid, self.account.pw_gid)
        command = [str(self.bin / "initdb"), "-D", str(self.folder / "data"), "-U", "tocsin", "--auth=password"]
        command += [f"--pwfile={pwfile}", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        initdb = self._as_account(command)
        output, _ = initdb.communicate()
        if initdb.returncode:
            raise RuntimeError(f"initdb failed:\n{output.decode(errors='replace')}")

    def _as_account(self, command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            user=self.account.pw_uid if self.account else None,
            group=self.account.pw_gid if self.account else None,
            extra_groups=[] if self.account else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "FOLDER": str(self.folder)},
            start_new_session=True,
        )

    def _answers(self) -> bool:
        address = self.admin.render_as_string(hide_password=False)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                psycopg.connect(address, connect_timeout=5).close()
            except psycopg.OperationalError:
                if "could not create any TCP/IP sockets" in self.log():
                    return False
                time.sleep(0.02)
            else:
                return True
        return False

    def _halt(self, *, keep: bool) -> None:
        self.hang_up()
        if self.guard is not None:
            self.guard.communicate(b"keep\n" if keep else b"")
            self.guard = None


def binaries() -> Path:
    """The folder with `initdb` and `postgres`, the newest version first; raises `NoPostgres`."""
    on_path = shutil.which("initdb")
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parent.parent.name))
    for initdb in [*([Path(on_path).resolve()] if on_path else []), *reversed(packaged)]:
        if (initdb.parent / "postgres").exists():
            return initdb.parent
    raise NoPostgres(
        "no PostgreSQL here: `initdb` is neither on the PATH nor under /usr/lib/postgresql/*/bin; install the package "
        "`postgresql`, or name a server in TOCSIN_TEST_POSTGRES=postgresql://user:password@host/postgres"
    )


def verifier(password: str) -> str:
    """What PostgreSQL keeps of a password, for one round of hashing (RFC 5802).

    The usual 4,096 rounds are half the price of a connection, of which tests make thousands.
    """
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    parts = [b64encode(part).decode() for part in (salt, stored, hmac.digest(salted, b"Server Key", "sha256"))]
    return f"SCRAM-SHA-256$1:{parts[0]}${parts[1]}:{parts[2]}"


def unprivileged() -> pwd.struct_passwd | None:
    """The account for the server: None is our own; PostgreSQL refuses root, so root lends it another."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def find() -> Databases:
    """The server that TOCSIN_TEST_POSTGRES names, or a running one of our own; raises `NoPostgres`."""
    given = os.environ.get("TOCSIN_TEST_POSTGRES")
    if given:
        return Server(given)
    cluster = Cluster()
    cluster.start()
    return cluster
