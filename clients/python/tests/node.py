"""A real node for tests: the program that CHANGEAGENT names."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src"))


class Node:
    """Runs until it is stopped; a restart keeps its data and its address."""

    def __init__(self, *arguments: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = self._folder.name
        self._arguments = arguments
        self.url = ""
        self._start("127.0.0.1:0")

    def _start(self, address: str) -> None:
        program = os.environ["CHANGEAGENT"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CHANGEAGENT")}
        command = [program, "--data", f"{self.folder}/data", "--listen", address, "--segment-size", "32MiB"]
        log = open(f"{self.folder}/log", "ab")
        self._process = subprocess.Popen(
            [*command, *self._arguments], stdout=subprocess.PIPE, stderr=log, env=environment, text=True
        )
        log.close()
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("listening "):
            with open(f"{self.folder}/log") as said:
                raise AssertionError(f"the node does not start: {said.read()}")
        self.url = line.removeprefix("listening ").strip()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def restart(self) -> None:
        self.kill()
        self._start(self.url.removeprefix("http://"))

    def stop(self) -> None:
        self.kill()
        self._folder.cleanup()
