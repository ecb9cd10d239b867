"""The outbox relay is killed before and after appends: each committed row is in the list once, in order."""

from __future__ import annotations

import json
import os
import random
import threading
import unittest
from contextlib import closing
from http.server import BaseHTTPRequestHandler

import tools

import outbox

ORDERS = 300
#: Each so many appends the relay is killed: in turn before the node hears of it, and after.
EVERY = 40


class Outbox(tools.Case):
    def between(self, keys: list[str]) -> str:
        """Passes requests on to the node, and kills the relay around some of them."""
        test = self

        class Between(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                appends = self.path.endswith("/changes")
                if appends:
                    keys.append(self.headers["Idempotency-Key"])
                due = appends and len(keys) % EVERY == 0
                if due and len(keys) % (2 * EVERY) == 0:
                    return test.relay.kill()
                status, headers, body = tools.forward(test.node.url, self)
                if due:
                    return test.relay.kill()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return tools.serve(self, Between)

    def application(self, path: str) -> None:
        """Makes orders, some of which it takes back."""
        with closing(outbox.connect(path)) as db:
            for number in range(ORDERS):
                outbox.order(db, random.choice(["ann", "bob"]), number)
                with self.assertRaisesRegex(ValueError, "no stock"), db:
                    db.execute("BEGIN IMMEDIATE")
                    db.execute("INSERT INTO outbox (data) VALUES ('\"never happened\"')")
                    raise ValueError("no stock")

    def test_each_committed_row_is_in_the_list_once(self) -> None:
        path = os.path.join(self.folder, "shop.db")
        keys: list[str] = []
        url = self.between(keys)
        application = threading.Thread(target=self.application, args=(path,))
        application.start()
        self.relay = self.example("outbox.py", url, path, tools.TENANT)
        self.addCleanup(application.join)
        with closing(outbox.connect(path)) as db:
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


if __name__ == "__main__":
    unittest.main()
