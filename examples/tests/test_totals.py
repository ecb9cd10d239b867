"""The materialised view is killed under load, and meets another history: it equals the list."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
import unittest
from contextlib import closing

import tools

import changeagent
import totals

KILLS = 15
ORDERS_A_BATCH = 50
#: How many changes the view may be behind.
AHEAD = 4000
Totals = dict[str, tuple[int, int]]


class View(tools.Case):
    def setUp(self) -> None:
        super().setUp()
        self.path = os.path.join(self.folder, "totals.db")

    def query(self, text: str) -> list[tuple[object, ...]]:
        try:
            with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=tools.PATIENCE_S)) as db:
                return db.execute(text).fetchall()
        except sqlite3.OperationalError:
            # It is not there yet.
            return []

    def since(self) -> int:
        rows = self.query("SELECT since FROM changeagent_mirrors")
        return int(rows[0][0]) if rows else 0  # type: ignore[call-overload]

    def totals(self) -> Totals:
        return {name: (orders, cents) for name, orders, cents in self.query("SELECT * FROM totals")}  # type: ignore[misc]

    def expected(self) -> Totals:
        sums: Totals = {}
        for change in self.listed():
            if order := totals.order_of(change):
                orders, cents = sums.get(order[0], (0, 0))
                sums[order[0]] = orders + 1, cents + order[1]
        return sums

    def append_batch(self) -> int:
        batch = [
            {"data": {"customer": random.choice(["ann", "bob"]), "cents": random.randrange(1000)}}
            for _ in range(ORDERS_A_BATCH)
        ]
        batch += [{"data": "not an order"}, {"data": {"customer": "ann"}}]
        return self.client.append_batch(batch, tenant=tools.TENANT).last

    def write(self, reached: list[int], stopped: threading.Event) -> None:
        """Never far ahead of the view, so that there is always something to do, and never much."""
        last = 0
        while not stopped.is_set():
            if last > reached[0] + AHEAD:
                stopped.wait(0.002)
            else:
                last = self.append_batch()

    def test_a_view_that_is_killed_equals_the_list(self) -> None:
        for _ in range(40):
            self.append_batch()
        reached, stopped = [0], threading.Event()
        writer = threading.Thread(target=self.write, args=(reached, stopped))
        writer.start()
        self.addCleanup(writer.join)
        self.addCleanup(stopped.set)
        view = self.example("totals.py", self.node.url, self.path, tools.TENANT, "--page", "100")
        behind = 0
        for _ in range(KILLS):
            self.eventually("the view moves", lambda: self.since() > reached[0], view)
            time.sleep(random.uniform(0, 0.02))
            view.kill()
            view.reap()
            reached[0] = self.since()
            behind += reached[0] < self.client.read(tenant=tools.TENANT, since=reached[0]).position.id
            view.start()
        stopped.set()
        writer.join()
        self.assertGreater(behind, KILLS // 2, "it was mostly killed when it had nothing to do")
        last = self.listed()[-1].id
        self.eventually("the view is at the end", lambda: self.since() >= last, view)
        self.assertEqual(self.totals(), self.expected())
        print(f"totals: {view.kills} kills, {behind} while behind, {len(self.listed())} changes, {self.totals()}")

    def test_it_counts_anew_where_the_node_serves_another_history(self) -> None:
        last = self.append_batch()
        view = self.example("totals.py", self.node.url, self.path, tools.TENANT)
        self.eventually("the view is at the end", lambda: self.since() >= last, view)
        before = self.totals()
        self.assertEqual(before, self.expected())
        view.kill()
        view.reap()
        other = tools.real.Node()
        self.addCleanup(other.stop)
        self.client = changeagent.Client(other.url)
        self.addCleanup(self.client.close)
        self.client.create_tenant(tools.TENANT)
        self.client.append({"customer": "cleo", "cents": 5}, tenant=tools.TENANT)
        self.example("totals.py", other.url, self.path, tools.TENANT)
        self.eventually("it counted anew", lambda: self.totals() != before and "cleo" in self.totals())
        self.assertEqual(self.totals(), {"cleo": (1, 5)})


if __name__ == "__main__":
    unittest.main()
