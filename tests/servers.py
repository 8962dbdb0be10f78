"""Real servers that tests and benchmarks start for themselves: PostgreSQL, and an object store with the S3 API.

Both listen on this machine only, keep nothing and need no privilege: a root user's PostgreSQL runs as another user.
"""

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

_NUMBERS = itertools.count(1)
_ROOT = 0


def postgres_programs() -> Path | None:
    """The folder of PostgreSQL's server programs, if they are on this machine."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@dataclass(frozen=True)
class PostgresServer:
    """A running server. Its own socket needs no password; over 127.0.0.1 it asks for one."""

    programs: Path
    folder: Path
    port: int
    user: str = "headrace"
    password: str = field(default="tests only", repr=False)

    def conninfo(self, database: str = "postgres", *, host: str = "") -> str:
        """The connection string of a database: by the socket, or by `host` (then PGPASSWORD must be set)."""
        return f"dbname={database} host={host or self.folder} port={self.port} user={self.user}"

    def new_database(self) -> str:
        """The connection string of a database that nobody has used."""
        name = f"fresh_{os.getpid()}_{next(_NUMBERS)}"
        with psycopg.connect(self.conninfo(), autocommit=True) as con:
            con.execute(f"create database {name}".encode())
        return self.conninfo(name)

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._run(
            "pg_ctl", "--wait", "--silent", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "start"
        )

    def stop(self) -> None:
        """Stop it at once, as a crash would: every connection is cut."""
        self._run("pg_ctl", "--wait", "--silent", "-D", str(self.folder / "data"), "-m", "immediate", "stop")

    def initialise(self, options: Mapping[str, str | int]) -> None:
        """Make the empty cluster and write its configuration."""
        secret = self.folder / "password"
        secret.write_text(self.password)
        if os.geteuid() == _ROOT:
            for path in (self.folder, secret):
                shutil.chown(path, _unprivileged())
        self._run(
            "initdb", "--no-sync", "-D", str(self.folder / "data"), "--username", self.user, "--encoding", "UTF8",
            "--locale", "C", "--auth-local", "trust", "--auth-host", "scram-sha-256", "--pwfile", str(secret),
        )  # fmt: skip
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in options.items())

    def _run(self, program: str, *arguments: str) -> None:
        as_root = os.geteuid() == _ROOT
        # the server inherits what it is started with, so a pipe would stay open for its whole life
        with (self.folder / "output").open("w+") as output:
            done = subprocess.run(
                [str(self.programs / program), *arguments],
                cwd=self.folder,
                stdout=output,
                stderr=output,
                check=False,
                user=_unprivileged() if as_root else None,
                group=pwd.getpwnam(_unprivileged()).pw_gid if as_root else None,
                extra_groups=[] if as_root else None,
            )
            output.seek(0)
            if done.returncode:
                raise RuntimeError(f"{program}: {output.read()}")


def _unprivileged() -> str:
    """A user for the server, which refuses to run as root."""
    return next(name for name in ("postgres", "nobody") if any(entry.pw_name == name for entry in pwd.getpwall()))


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Run a PostgreSQL server with logical replication in a folder of its own.

    Args:
        durable: whether a commit waits for the disk, as a real server's does; a test needs none of that.
    """
    programs = postgres_programs()
    if programs is None:
        raise RuntimeError("PostgreSQL's server programs are not on this machine")
    folder = Path(tempfile.mkdtemp(prefix="headrace-pg-"))  # short: a socket's path has 107 characters at most
    server = PostgresServer(programs=programs, folder=folder, port=free_port())
    try:
        server.initialise(
            {
                "listen_addresses": "127.0.0.1",
                "port": server.port,
                "unix_socket_directories": str(folder),
                "wal_level": "logical",
                "max_wal_senders": 20,
                "max_replication_slots": 200,
                "max_connections": 200,
                "shared_buffers": "64MB",
                "fsync": "on" if durable else "off",
            }
        )
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class ObjectStoreServer:
    """A running server with the S3 API."""

    address: str

    def environment(self) -> dict[str, str]:
        """The variables that point every S3 client at it."""
        return {
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests only",
            "AWS_ENDPOINT_URL": self.address,
            "AWS_REGION": "us-east-1",
        }

    def new_bucket(self) -> str:
        """The name of a bucket that nobody has used."""
        name = f"fresh-{os.getpid()}-{next(_NUMBERS)}"
        request = urllib.request.Request(f"{self.address}/{name}", method="PUT")
        with urllib.request.urlopen(request, timeout=10):
            return name


@contextmanager
def object_store_server() -> Iterator[ObjectStoreServer]:
    """Run moto's S3 server in a process of its own; objects are in its memory."""
    port = free_port()
    command: Sequence[str] = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = ObjectStoreServer(f"http://127.0.0.1:{port}")
    try:
        _wait_for(server.address, process)
        yield server
    finally:
        process.terminate()
        process.wait()


def _wait_for(address: str, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.05)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
