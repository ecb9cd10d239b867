"""What the tests share: real nodes at addresses of their own, and programs of the system that may be missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGING = ROOT / "packaging"
PROGRAM = os.environ.get("CHANGEAGENT", str(ROOT / "target" / "debug" / "changeagent"))
#: Seconds after which something hangs.
PATIENCE_S = 60
#: Small files: preparing them takes no time.
SMALL = ("--segment-size=2MiB", "--max-body=1MiB", "--max-batch=1000")


def missing(what: str) -> None:
    """Skips the test that needs it, or fails with CI=true."""
    if os.environ.get("CI") == "true":
        raise AssertionError(f"{what} is not installed")
    raise unittest.SkipTest(f"{what} is not installed")


def installed(program: str) -> str:
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        missing(program)
    return found


def read_yaml(file: Path) -> list[Any]:
    """The documents of a file."""
    try:
        import yaml
    except ImportError:
        missing("python3-yaml")
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def environment(**more: str) -> dict[str, str]:
    """This one without settings of the program."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHANGEAGENT")}
    return kept | more


class Case(unittest.TestCase):
    """Has a folder, nodes that end with the test, and addresses that no other process has."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(dir=ROOT / "target")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        number = os.getpid()
        self.network = f"127.{128 + (number >> 16 & 63)}.{number >> 8 & 255}.{number & 255}"

    def address(self, number: int) -> str:
        """An address of this machine for node `number`, below 64."""
        first, second, rest = self.network.split(".", 2)
        return f"{first}.{int(second) ^ number}.{rest}"

    def start(self, *arguments: str, launcher: tuple[str, ...] = (), **more: str) -> subprocess.Popen[str]:
        """A node, once it says where it listens."""
        with open(self.folder / "stderr", "a", encoding="utf-8") as stderr:
            command = [*launcher, PROGRAM, *arguments]
            node = subprocess.Popen(command, env=environment(**more), stdout=subprocess.PIPE, stderr=stderr, text=True)
        self.addCleanup(self.end, node)
        line = node.stdout.readline()
        self.assertTrue(line.startswith("listening "), line + (self.folder / "stderr").read_text(encoding="utf-8"))
        node.url = line.split()[1]
        return node

    @staticmethod
    def end(node: subprocess.Popen[str]) -> None:
        if node.poll() is None:
            node.kill()
        node.wait()
        node.stdout.close()

    def eventually(self, what: str, holds: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not holds():
            self.assertLess(time.monotonic(), end, what + "\n" + (self.folder / "stderr").read_text(encoding="utf-8"))
            time.sleep(0.05)

    def voters(self, url: str) -> list[str]:
        """Where the voters are that the node at `url` knows, if it has a leader."""
        try:
            with urllib.request.urlopen(f"{url}/cluster", timeout=5) as answer:
                cluster = json.load(answer)
        except (urllib.error.URLError, OSError):
            return []
        if cluster["leader"] is None:
            return []
        return sorted(member["address"] for member in cluster["members"] if member["role"] == "voter")
