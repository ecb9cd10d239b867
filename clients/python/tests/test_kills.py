"""A mirror that is killed again and again, while a real node is written to, has each change once.

Run with CHANGEAGENT=/path/to/changeagent. This file is also the program that is
killed: `test_kills.py URL DATABASE`.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import threading
import time
import unittest
import urllib.request
from contextlib import closing

import node as real

import changeagent

KILLS = 50
#: Seconds after which something hangs.
PATIENCE_S = 60


def mirror(url: str, path: str) -> None:
    """The program that is killed: a copy, and a table of its own with the sum of each kind."""

    def add(db: sqlite3.Connection, page: changeagent.Page) -> None:
        for change in page.changes:
            db.execute(
                "INSERT INTO sums VALUES (?, 1, ?) ON CONFLICT (kind)"
                " DO UPDATE SET count = count + 1, total = total + excluded.total",
                (change.tags[0], change.data["n"]),
            )

    copy = changeagent.Mirror(path, on_page=add, limit=20, mode=random.choice(["wait", "stream"]))
    copy.db.execute("CREATE TABLE IF NOT EXISTS sums (kind TEXT PRIMARY KEY, count INTEGER, total INTEGER)")
    copy.run(changeagent.Client(url))


class Writer(threading.Thread):
    """Appends until it is stopped, never more than some way ahead of the copy."""

    AHEAD = 3000

    def __init__(self, url: str, reached: list[int]):
        super().__init__(daemon=True)
        self.client = changeagent.Client(url)
        self._reached = reached
        self.last = 0
        self.stopped = threading.Event()
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            while not self.stopped.is_set():
                if self.last > self._reached[0] + self.AHEAD:
                    self.stopped.wait(0.001)
                    continue
                one = {"n": self.last, "text": 'é"\\ 😀'}
                self.last = self.client.append(one, tags=[f"kind {self.last % 3}", "x"])
                batch = [{"data": {"n": n}, "tags": [f"kind {n % 3}"]} for n in range(random.randint(1, 300))]
                self.last = self.client.append_batch(batch).last
        except Exception as error:
            self.failure = error


def query(path: str, text: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=PATIENCE_S)) as db:
        return db.execute(text).fetchall()


def position(path: str) -> int:
    try:
        rows = query(path, "SELECT since FROM changeagent_mirrors")
    except sqlite3.OperationalError:
        # It is not there yet.
        return 0
    return int(rows[0][0]) if rows else 0  # type: ignore[call-overload]


class Kills(unittest.TestCase):
    def setUp(self) -> None:
        self.node = real.Node()
        self.addCleanup(self.node.stop)
        self.path = f"{self.node.folder}/copy.db"

    def await_position(self, child: subprocess.Popen[bytes], goal: int) -> int:
        end = time.monotonic() + PATIENCE_S
        while (reached := position(self.path)) < goal:
            self.assertIsNone(child.poll(), "the mirror ended")
            self.assertLess(time.monotonic(), end, f"the mirror is at {reached} and does not come to {goal}")
            time.sleep(0.001)
        return reached

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, __file__, self.node.url, self.path])

    def test_a_mirror_killed_50_times_under_load_equals_the_list(self) -> None:
        reached = [0]
        writer = Writer(self.node.url, reached)
        writer.start()
        behind = 0
        for kill in range(KILLS):
            if kill == KILLS // 2:
                self.node.restart()
            child = self.start()
            # Killed only once it has moved on, at any step of the next pages.
            self.await_position(child, reached[0] + 1)
            time.sleep(random.uniform(0, 0.02))
            child.kill()
            child.wait()
            last = writer.last
            reached[0] = position(self.path)
            behind += reached[0] < last
        writer.stopped.set()
        writer.join(PATIENCE_S)
        writer.client.close()
        self.assertIsNone(writer.failure)
        self.assertGreater(behind, KILLS // 2, "it was mostly killed when it had nothing to do")
        child = self.start()
        self.await_position(child, writer.last)
        child.kill()
        child.wait()
        self.compare(writer.last, behind)

    def compare(self, last: int, behind: int) -> None:
        request = urllib.request.Request(f"{self.node.url}/changes", headers={"Accept": "application/x-ndjson"})
        with urllib.request.urlopen(request) as answer:
            lines = answer.read().decode().splitlines()
        self.assertEqual(len(lines), last)
        rows = query(self.path, "SELECT id, ts, tags, data FROM changes ORDER BY id")
        self.assertEqual(len(rows), last)
        sums: dict[str, tuple[int, int]] = {}
        for line, (id, ts, tags, data) in zip(lines, rows):
            change = json.loads(line)
            self.assertEqual((id, ts), (change["_id"], change["_ts"]))
            self.assertEqual(json.loads(str(tags)), change["tags"])
            self.assertTrue(line.endswith(f'"data":{data}}}'), (line, data))
            count, total = sums.get(change["tags"][0], (0, 0))
            sums[change["tags"][0]] = count + 1, total + change["data"]["n"]
        self.assertEqual({kind: (n, total) for kind, n, total in query(self.path, "SELECT * FROM sums")}, sums)
        print(f"{KILLS} kills, {behind} while behind, {last} changes, all there once", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        mirror(sys.argv[1], sys.argv[2])
    else:
        unittest.main()
