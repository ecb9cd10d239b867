"""The client against a real node: run with CHANGEAGENT=/path/to/changeagent."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
import unittest
import unittest.mock
from contextlib import closing
from typing import Any, Callable

import node as real

import changeagent
from changeagent import aio


class RealNode(unittest.TestCase):
    node: real.Node

    @classmethod
    def setUpClass(cls) -> None:
        cls.node = real.Node()
        cls.addClassCleanup(cls.node.stop)

    def setUp(self) -> None:
        self.client = changeagent.Client(self.node.url)
        self.addCleanup(self.client.close)
        name = self.id().rpartition(".")[2][:100]
        self.tenant = self.client.create_tenant(name)
        self.collection = self.client.create_collection(name, "c")
        self.assertEqual(self.client.create_tenant(name, exist_ok=True), self.tenant)
        self.of = {"tenant": self.tenant}

    def test_appends_and_reads_exactly(self) -> None:
        first = self.client.append(12345678901234567890123, tags=["é"], **self.of)
        batch = self.client.append_batch([{"data": 1.5}, {"data": None}], tenant=self.tenant)
        self.assertEqual((batch.first, batch.last, batch.count), (first + 1, first + 2, 2))
        page = self.client.read(min_id=batch.last, **self.of)
        self.assertEqual([change.data for change in page.changes], [12345678901234567890123, 1.5, None])
        self.assertEqual([change.data_json for change in page.changes], ["12345678901234567890123", "1.5", "null"])
        self.assertEqual(page.changes[0].tags, ("é",))
        self.assertEqual(self.client.change(first), page.changes[0])
        again = [self.client.append("x", idempotency_key=f"{self.tenant}", **self.of) for _ in range(2)]
        self.assertEqual(again[0], again[1])

    def test_keys_and_conditions(self) -> None:
        at = {"collection": self.collection}
        version = self.client.put("a/b č", 1, if_absent=True, **at)
        with self.assertRaises(changeagent.ApiError) as refused:
            self.client.put("a/b č", 2, if_absent=True, **at)
        self.assertEqual((refused.exception.code, refused.exception.problem["current"]), ("precondition-failed", version))
        newer = self.client.put("a/b č", 2, if_match=version, **at)
        found = self.client.get("a/b č", tenant=self.tenant, collection="c")
        assert found is not None
        self.assertEqual((found.id, found.data, found.key), (newer, 2, "a/b č"))
        self.assertEqual([change.id for change in self.client.keys(**at)], [newer])
        self.assertIsNotNone(self.client.delete("a/b č", **at))
        self.assertIsNone(self.client.delete("a/b č", **at))
        self.assertIsNone(self.client.get("a/b č", **at))

    def test_follows_through_a_restart_in_both_modes(self) -> None:
        ids = [self.client.append(n, **self.of) for n in range(5)]
        for mode in ("wait", "stream"):
            changes = self.client.follow(mode=mode, since=0, **self.of)
            with closing(changes):
                self.assertEqual([next(changes).id for _ in ids], ids)
                self.node.restart()
                ids.append(self.client.append("after", **self.of))
                self.assertEqual(next(changes).id, ids[-1])

    def test_closing_ends_what_waits(self) -> None:
        for mode in ("wait", "stream"):
            client = changeagent.Client(self.node.url)
            pages = client.pages(since="now", mode=mode, **self.of)
            self.assertEqual(next(pages).changes, ())
            rest: list[changeagent.Page] = []
            waiting = threading.Thread(target=lambda: rest.extend(pages))
            waiting.start()
            client.close()
            waiting.join(10)
            self.assertFalse(waiting.is_alive())
            self.assertEqual(rest, [])

    def test_asyncio_follows_while_it_appends(self) -> None:
        async def run() -> tuple[list[int], list[int]]:
            async with changeagent.AsyncClient(self.node.url) as client:
                start = (await client.read(since="now", **self.of)).position

                async def take() -> list[int]:
                    taken = []
                    async for change in client.follow(since=start, mode="stream", **self.of):
                        taken.append(change.id)
                        if len(taken) == 20:
                            return taken
                    raise AssertionError("it ended")

                taking = asyncio.create_task(take())
                sent = [await client.append(n, **self.of) for n in range(20)]
                return sent, await asyncio.wait_for(taking, 30)

        sent, taken = asyncio.run(run())
        self.assertEqual(taken, sent)

    def test_cancelling_a_task_ends_it_whatever_comes_at_that_moment(self) -> None:
        """The task is cancelled from within a step that then ends as it should."""
        def cancels(task: asyncio.Task[None], step: Callable[..., Any]) -> Callable[..., Any]:
            async def cancelling(*arguments: Any) -> Any:
                result = await step(*arguments)
                task.cancel()
                return result
            return cancelling

        async def follow(client: changeagent.AsyncClient, mode: str) -> None:
            async for _ in client.follow(mode=mode, block=5, **self.of):
                pass

        async def run(step: str, mode: str) -> bool:
            client = changeagent.AsyncClient(self.node.url)
            owner: Any = client if step == "_connect" else aio._Streams
            task = asyncio.create_task(follow(client, mode))
            with unittest.mock.patch.object(owner, step, cancels(task, getattr(owner, step))):
                done, _ = await asyncio.wait({task}, timeout=10)
            task.cancel()
            await asyncio.wait({task}, timeout=1)
            client.close()
            return bool(done) and task.cancelled()

        self.client.append(1, **self.of)
        for step in ("_connect", "send", "receive"):
            for mode in ("wait", "stream"):
                with self.subTest(step=step, mode=mode):
                    self.assertTrue(asyncio.run(run(step, mode)), "it goes on although it was cancelled")

    def test_positions_of_another_history_are_refused(self) -> None:
        id = self.client.append(1, **self.of)
        elsewhere = changeagent.Position("00000000-0000-4000-8000-000000000000", id)
        for mode in ("wait", "stream"):
            with self.assertRaises(changeagent.Reset) as reset:
                next(self.client.follow(since=elsewhere, mode=mode, **self.of))
            self.assertEqual(reset.exception.code, "other-history")
            self.assertEqual(reset.exception.cluster, self.client.read().position.cluster)

    def test_two_mirrors_do_not_write_to_one_copy(self) -> None:
        for n in range(6):
            self.client.append(n, **self.of)
        path = f"{self.node.folder}/conflict.db"
        one, other = (changeagent.Mirror(path, limit=2, **self.of) for _ in range(2))
        next(one.pages(self.client))
        with self.assertRaises(changeagent.Conflict):
            next(other.pages(self.client))
        self.assertEqual(one.db.execute("SELECT count(*) FROM changes").fetchone(), (2,))

    def test_a_hook_that_fails_leaves_nothing(self) -> None:
        self.client.append(1, **self.of)

        def fail(db: sqlite3.Connection, page: changeagent.Page) -> None:
            raise RuntimeError("no")

        def commit(db: sqlite3.Connection, page: changeagent.Page) -> None:
            db.commit()

        path = f"{self.node.folder}/hook.db"
        for hook, error in ((fail, RuntimeError), (commit, changeagent.ChangeAgentError)):
            mirror = changeagent.Mirror(path, on_page=hook, **self.of)
            with self.assertRaises(error):
                next(mirror.pages(self.client))
            self.assertIsNone(mirror.position)
            if hook is fail:
                self.assertEqual(mirror.db.execute("SELECT count(*) FROM changes").fetchone(), (0,))
            mirror.db.close()

    def test_keys_are_mirrored_from_the_state(self) -> None:
        at = {"collection": self.collection}
        for n in range(10):
            self.client.put(f"k{n % 4}", n, **at)
        self.client.delete("k0", **at)
        mirror = changeagent.Mirror(f"{self.node.folder}/keys.db", keep="keys", **at)
        pages = mirror.pages(self.client)
        for page in pages:
            if page.at_end and page.changes:
                break
        last = self.client.put("k9", 9, **at)
        for page in pages:
            if page.position.id >= last:
                break
        kept = mirror.db.execute("SELECT key, data FROM keys ORDER BY key").fetchall()
        self.assertEqual(kept, [("k1", "9"), ("k2", "6"), ("k3", "7"), ("k9", "9")])

    def test_a_state_goes_on_after_any_key(self) -> None:
        keys = sorted(["a/b", "a b", "100%", "%2F", "č&=#", "+", "z"], key=str.encode)
        for key in keys:
            self.client.put(key, key, collection=self.collection)
        for place in ({"collection": self.collection}, self.of):
            (page,) = self.client.state(**place)
            self.assertEqual([change.key for change in page.changes], keys)
            for n, key in enumerate(keys):
                resumed = self.client.state(**place, resume=(page.position, self.collection, key))
                self.assertEqual([one.key for some in resumed for one in some.changes], keys[n + 1 :])

    def test_positions_are_read_as_they_are_written(self) -> None:
        self.client.append(1)
        change = next(itertools.islice(self.client.follow(), 1))
        self.assertEqual(changeagent.Position.parse(str(change.position)), change.position)
        for wrong in ("", "12", "/12", "a/", "a/-1", "a/x"):
            with self.assertRaises(ValueError):
                changeagent.Position.parse(wrong)


if __name__ == "__main__":
    unittest.main()
