"""Outbox relays are killed before and after appends: each committed row is in the list once."""

from __future__ import annotations

import json
import os
import random
import threading
import time
import unittest
from contextlib import closing

import postgres
import tools

import outbox

ORDERS = 300
#: Each so many appends the relay is killed: in turn before the node hears of it, and after.
EVERY = 40
#: Kills of the application.
KILLS = 8


class Sqlite(tools.Case):
    def setUp(self) -> None:
        super().setUp()
        self.path = os.path.join(self.folder, "shop.db")

    def application(self) -> None:
        """Makes orders, and between them some that it takes back."""
        with closing(outbox.connect(self.path)) as db:
            for number in range(ORDERS):
                outbox.order(db, random.choice(["ann", "bob"]), number)
                with self.assertRaisesRegex(ValueError, "no stock"), db:
                    db.execute("BEGIN IMMEDIATE")
                    db.execute("INSERT INTO outbox (data) VALUES ('\"never happened\"')")
                    raise ValueError("no stock")

    def test_each_committed_row_is_in_the_list_once(self) -> None:
        keys: list[str] = []
        url = self.between(keys, EVERY)
        application = threading.Thread(target=self.application)
        application.start()
        self.addCleanup(application.join)
        self.relay = self.example("outbox.py", url, self.path, tools.TENANT)
        with closing(outbox.connect(self.path)) as db:
            sent = lambda: db.execute("SELECT count(change) FROM outbox").fetchone()[0] == ORDERS
            self.eventually("all rows are sent", sent, self.relay)
            rows = db.execute("SELECT change, data FROM outbox ORDER BY id").fetchall()
            orders = db.execute("SELECT id, customer, cents FROM orders ORDER BY id").fetchall()
        listed = self.listed()
        self.assertEqual([(change.id, change.data) for change in listed], [(id, json.loads(data)) for id, data in rows])
        self.assertEqual([tuple(change.data.values()) for change in listed], orders)
        # Each kill had a row tried a second time, every other one after it was in the list.
        self.assertGreaterEqual(self.relay.kills, ORDERS // EVERY)
        self.assertEqual(len(keys) - len({*keys}), self.relay.kills)
        print(f"outbox: {self.relay.kills} kills, {len(keys)} appends, {len(listed)} changes")

    def test_an_application_that_is_killed_has_a_row_for_each_order(self) -> None:
        orders = 0
        with closing(outbox.connect(self.path)) as db:
            count = lambda table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for _ in range(KILLS):
                application = self.example("outbox.py", self.node.url, self.path, tools.TENANT, "--orders", "1000000")
                self.eventually("orders are made", lambda: count("orders") > orders)
                time.sleep(random.uniform(0, 0.005))
                application.kill()
                application.reap()
                orders = count("orders")
                self.assertEqual(count("outbox"), orders)
        self.assertEqual(self.listed(), [])


@unittest.skipUnless(postgres.is_installed() or os.environ.get("CI") == "true", "there is no PostgreSQL")
class Postgres(tools.Case):
    def test_each_committed_row_is_in_the_list_once(self) -> None:
        database = postgres.Database(self)
        keys: list[str] = []
        self.relay = self.example("outbox_postgres.py", self.between(keys, EVERY), database.url, tools.TENANT)
        self.eventually("there is the table", lambda: database.run("SELECT to_regclass('outbox')") == ["outbox"], self.relay)
        # A transaction that takes its numbers first and commits last, after all others are sent.
        late = database.session()
        late.write("BEGIN; INSERT INTO outbox (data) VALUES ('\"late 1\"'), ('\"late 2\"'); SELECT 'ready';")
        self.assertEqual(late.read_line(), "ready")
        database.run(f"INSERT INTO outbox (data) SELECT to_jsonb(n) FROM generate_series(1, {ORDERS}) AS n")
        database.run("BEGIN; INSERT INTO outbox (data) VALUES ('\"never happened\"'); ROLLBACK")
        sent = lambda: database.run("SELECT count(change) FROM outbox")
        self.eventually("all rows but the late ones are sent", lambda: sent() == [str(ORDERS)], self.relay)
        late.write("COMMIT;")
        self.eventually("the late rows are sent", lambda: sent() == [str(ORDERS + 2)], self.relay)
        listed = self.listed()
        self.assertEqual([change.data for change in listed], [*range(1, ORDERS + 1), "late 1", "late 2"])
        rows = database.run("SELECT change || ' ' || data::text FROM outbox ORDER BY change")
        self.assertEqual(rows, [f"{change.id} {change.data_json}" for change in listed])
        # A kill has the whole page tried a second time: these were in the list already.
        self.assertGreaterEqual(self.relay.kills, ORDERS // EVERY)
        self.assertGreater(len(keys) - len({*keys}), self.relay.kills)
        print(f"outbox of PostgreSQL: {self.relay.kills} kills, {len(keys)} appends, {len(listed)} changes")


if __name__ == "__main__":
    unittest.main()
