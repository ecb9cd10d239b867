"""The webhook relay is killed, refused and cut off: the receiver has each change once, in order."""

from __future__ import annotations

import json
import os
import unittest
from contextlib import closing

import tools

import receiver

CHANGES = 200
#: What happens to each so many requests.
REFUSED, REDIRECTED, CUT_OFF, KILLED_BEFORE, KILLED_AFTER = 11, 17, 23, 37, 41


class Webhook(tools.Case):
    def receiver(self, seen: list[str], followed: list[str]) -> str:
        """The example's receiver, with faults."""
        test = self

        class Faulty(receiver.Receiver):
            def do_POST(self) -> None:
                key = self.headers["Idempotency-Key"]
                seen.append(key)
                number = len(seen)
                if number % KILLED_BEFORE == 0:
                    return test.relay.kill()
                if number % REFUSED == 0:
                    self.body()
                    return self.send_error(503)
                if number % REDIRECTED == 0:
                    self.body()
                    self.send_response(302)
                    self.send_header("Location", "/elsewhere")
                    return self.end_headers()
                if number % CUT_OFF and number % KILLED_AFTER:
                    return super().do_POST()
                self.take(key, self.body())
                if number % KILLED_AFTER == 0:
                    test.relay.kill()

            def do_GET(self) -> None:
                followed.append(self.path)

            def body(self) -> str:
                return self.rfile.read(int(self.headers["Content-Length"])).decode()

            def take(self, key: str, body: str) -> bool:
                with self.lock, self.db:
                    return self.db.execute("INSERT OR IGNORE INTO received VALUES (?, ?)", (key, body)).rowcount == 1

        return tools.serve(self, Faulty)

    def test_the_receiver_has_each_change_once(self) -> None:
        receiver.Receiver.db = receiver.open_database(os.path.join(self.folder, "received.db"))
        with closing(receiver.Receiver.db) as db:
            seen: list[str] = []
            followed: list[str] = []
            for n in range(CHANGES):
                self.client.append({"n": n, "text": 'é"\\ 😀', "exact": 1.50}, tenant=tools.TENANT, tags=["t"])
            position = os.path.join(self.folder, "position")
            target = self.receiver(seen, followed)
            self.relay = self.example("webhook.py", self.node.url, target, tools.TENANT, "--position", position)
            stored = lambda: os.path.exists(position) and open_text(position).endswith(f"/{listed[-1].id}")
            listed = self.listed()
            self.eventually("all are delivered", stored, self.relay)
            received = db.execute("SELECT key, body FROM received ORDER BY rowid").fetchall()
        self.assertEqual([key for key, _ in received], [str(change.position) for change in listed])
        self.assertEqual([json.loads(body) for _, body in received], [change.members for change in listed])
        self.assertEqual(followed, [], "a redirect was followed")
        # Without its repeats, what came is in order, and a repeat is always of the newest.
        self.assertEqual([*dict.fromkeys(seen)], [key for key, _ in received])
        ids = [int(key.rpartition("/")[2]) for key in seen]
        self.assertEqual(ids, sorted(ids))
        self.assertGreaterEqual(self.relay.kills, CHANGES // KILLED_BEFORE + CHANGES // KILLED_AFTER)
        print(f"webhook: {self.relay.kills} kills, {len(seen)} requests, {len(received)} changes")

    def test_a_position_of_another_history_ends_it(self) -> None:
        position = os.path.join(self.folder, "position")
        with open(position, "w") as file:
            file.write("5b0c7f8e-43a4-4a53-8a3e-5a1d3c1b7e11/1")
        relay = self.example("webhook.py", self.node.url, "http://127.0.0.1:9/", tools.TENANT, "--position", position)
        self.assertIn("other-history", relay.reap())
        self.assertEqual(relay.process.returncode, 1)


def open_text(path: str) -> str:
    with open(path) as file:
        return file.read()


if __name__ == "__main__":
    unittest.main()
