"""A PostgreSQL of its own for a test, where it is installed."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
import unittest

#: Where Debian puts what is not for users.
PATH = os.pathsep.join([os.environ.get("PATH", ""), *glob.glob("/usr/lib/postgresql/*/bin")])


def is_installed() -> bool:
    return all(shutil.which(program, path=PATH) for program in ("initdb", "pg_ctl", "psql"))


class Database:
    """Runs until the test ends; reached by a socket in its folder only."""

    def __init__(self, test: unittest.TestCase) -> None:
        folder = tempfile.TemporaryDirectory()
        test.addCleanup(folder.cleanup)
        self._folder = folder.name
        self._test = test
        # It does not run as root.
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user:
            os.chown(self._folder, pwd.getpwnam(self._user).pw_uid, -1)
        data = f"{self._folder}/data"
        self._server("initdb", "-D", data, "-U", "test", "-A", "trust", "--no-sync")
        options = f"-c listen_addresses= -c unix_socket_directories={self._folder} -c fsync=off"
        self._server("pg_ctl", "-D", data, "-w", "-l", f"{self._folder}/log", "-o", options, "start")
        test.addCleanup(self._server, "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        self.url = f"postgresql:///postgres?host={self._folder}&user=test"
        self._psql = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.url]

    def _server(self, program: str, *arguments: str) -> None:
        found = shutil.which(program, path=PATH)
        self._test.assertIsNotNone(found, f"there is no {program}")
        done = subprocess.run(
            [str(found), *arguments], cwd=self._folder, user=self._user, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        self._test.assertEqual(done.returncode, 0, done.stderr)

    def run(self, statement: str) -> list[str]:
        """The lines that it gives."""
        return subprocess.run(
            [*self._psql, "-c", statement], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.splitlines()

    def session(self) -> Session:
        return Session(self._test, self._psql)


class Session:
    """A connection that is kept, for a transaction that lasts."""

    def __init__(self, test: unittest.TestCase, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        test.addCleanup(self._process.communicate)

    def write(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def read_line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
