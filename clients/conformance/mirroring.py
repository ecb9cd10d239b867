"""What a local copy must come through."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import tempfile
from contextlib import closing
from typing import Any

from driver import PATIENCE_S, Driver
from following import END, MODES, VALUES, filled
from history import History, Refusal
from server import Asked, Fault, Node
from writing import COLLECTION, KEYS, TENANT

#: How often a program that keeps a copy is killed.
KILLS = 8


def rows(path: str, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, timeout=PATIENCE_S)) as db:
        return db.execute(query).fetchall()


def check_changes(path: str, history: History, first: int = 1) -> None:
    """The table is the list, and the hook saw each change once."""
    wanted = [
        (change["_id"], change["_ts"], change.get("tenant"), change.get("collection"), change.get("key"),
         json.dumps(change["tags"], ensure_ascii=False) if "tags" in change else None,
         change["data"], int(change.get("deleted", False)))
        for change in history.changes[first - 1 :]
    ]
    got = rows(path, "SELECT id, ts, tenant, collection, key, tags, data, deleted FROM changes ORDER BY id")
    # Spaces in the text of an array mean nothing.
    got = [(*row[:5], row[5] and json.dumps(json.loads(row[5]), ensure_ascii=False), *row[6:]) for row in got]
    assert got == wanted, f"{len(got)} rows, {len(wanted)} changes"
    seen = [id for (id,) in rows(path, "SELECT id FROM seen ORDER BY rowid")]
    assert seen == [row[0] for row in wanted], "the hook did not see each change once"
    check_position(path, "changes", history)


def check_position(path: str, name: str, history: History) -> None:
    found = rows(path, "SELECT name, format, keep, cluster, since, loading FROM changeagent_mirrors")
    assert found == [(name, 1, name, history.cluster, history.last, None)], found


def check_keys(path: str, history: History) -> None:
    got = rows(path, "SELECT collection, key, id, data FROM keys ORDER BY collection, key")
    wanted = sorted((of, key, id, history.changes[id - 1]["data"]) for (of, key), id in history.keys.items())
    assert sorted(got) == wanted, f"{got} is kept of {wanted}"
    check_position(path, "keys", history)


def copies_a_list(driver: Driver) -> None:
    for mode in MODES:
        history = History()
        for n in range(300):
            members = {"tags": ["é", 'b"']} if n % 7 == 0 else {}
            members |= {"collection": COLLECTION, "key": KEYS[n % 5], "tenant": TENANT} if n % 3 == 0 else {}
            history.append(VALUES[n % len(VALUES)], **members)
        history.append(None, collection=COLLECTION, key="a", deleted=True)
        history.append(END)
        script = lambda asked, number: Fault(cut=500 + 700 * number, chunk=64)  # noqa: E731
        with tempfile.TemporaryDirectory() as folder, Node(history, script) as node:
            path = os.path.join(folder, "copy.db")
            outcome = driver.one([node.url], "mirror", path=path, keep="changes", mode=mode, limit=20, until_data=END)
            assert outcome.error is None, outcome.error
            check_changes(path, history)


KEYS_TABLE = """
CREATE TABLE keys (
  collection TEXT NOT NULL, key TEXT NOT NULL, id INTEGER NOT NULL, ts INTEGER NOT NULL,
  tenant TEXT, tags TEXT, data TEXT, PRIMARY KEY (collection, key)) WITHOUT ROWID;
CREATE TABLE changeagent_mirrors (
  name TEXT PRIMARY KEY, format INTEGER NOT NULL, keep TEXT NOT NULL, list TEXT NOT NULL,
  cluster TEXT, since INTEGER NOT NULL, loading TEXT);
CREATE TRIGGER older BEFORE UPDATE ON keys WHEN NEW.id <= OLD.id
  BEGIN SELECT RAISE(ABORT, 'a version is replaced by an older one'); END;
-- A page has one change here, so the deletion is the change after the position.
CREATE TRIGGER later BEFORE DELETE ON keys
  WHEN OLD.id > (SELECT since FROM changeagent_mirrors) + 1
  BEGIN SELECT RAISE(ABORT, 'a version is deleted by an older deletion'); END;
"""


def keys_never_go_back(driver: Driver) -> None:
    """While the state is caught up with, changes come that are older than what is held."""
    history = History()
    at = {"tenant": TENANT, "collection": COLLECTION}
    for n in range(20):
        history.append(str(n), **at, key=KEYS[n % len(KEYS)])

    def script(asked: Asked, number: int) -> Fault | None:
        if number == 1:
            # The rest of the state is as after this; its position is as before.
            for n in range(20, 40):
                history.append(str(n), **at, key=KEYS[n % len(KEYS)])
                history.append(None, **at, key=KEYS[n % len(KEYS)], deleted=True)
                history.append(str(-n), **at, key=KEYS[n % len(KEYS)])
            history.append(END, **at, key="end")
        return Fault(cut=700) if number == 0 else None

    with tempfile.TemporaryDirectory() as folder, Node(history, script) as node:
        path = os.path.join(folder, "copy.db")
        with closing(sqlite3.connect(path)) as db:
            db.executescript(KEYS_TABLE)
        call = {"path": path, "keep": "keys", "limit": 1, "collection": COLLECTION}
        outcome = driver.one([node.url], "mirror", until_id=81, **call)
        assert outcome.error is None, outcome.error
        check_keys(path, history)
        assert any("after=" in asked.target for asked in node.asked), "the state was not broken off"


def keys_are_whole_after_a_fail_over(driver: Driver) -> None:
    """The rest of a state is asked for at a node that lies behind where it was begun."""
    for ignores in (False, True):
        keys_of_two_nodes(driver, ignores)


def keys_of_two_nodes(driver: Driver, ignores_min_id: bool) -> None:
    history, behind = History(), History()
    behind.cluster, behind.is_behind = history.cluster, True
    writes = [(str(n), {"tenant": TENANT, "collection": COLLECTION, "key": KEYS[n % len(KEYS)]}) for n in range(40)]
    for data, members in writes:
        history.append(data, **members)
    for data, members in writes[:20]:
        behind.append(data, **members)

    def catch_up(asked: Asked, number: int) -> Fault | None:
        if number == 0:
            # It does not know the collection yet.
            return Fault(refusal=Refusal(404, "not-found"))
        if number == 4:
            for data, members in writes[20:]:
                behind.append(data, **members)
        if "/changes" in asked.target and behind.changes[-1]["data"] != END:
            behind.append(END, tenant=TENANT, collection=COLLECTION, key="end")
        return None

    with tempfile.TemporaryDirectory() as folder, Node(behind, catch_up) as second:
        second.ignores_min_id = ignores_min_id
        first = Node(history, lambda asked, number: Fault(cut=700 if number == 0 else 0))
        path = os.path.join(folder, "copy.db")
        call = {"path": path, "keep": "keys", "collection": COLLECTION, "until_data": END, "block": 0.05}
        outcome = driver.one([first.url, second.url], "mirror", **call)
        first.stop()
        assert outcome.error is None, outcome.error
        assert any("after=" in asked.target for asked in second.asked), "the state was not broken off"
        check_keys(path, behind)


def pages_are_whole(driver: Driver) -> None:
    """What fails in the middle of a page leaves nothing of it: neither rows nor position."""
    history = filled(50)
    history.append(END)
    triggers = {
        "rows": "CREATE TRIGGER no BEFORE INSERT ON changes WHEN NEW.id = 38",
        "hook": "CREATE TRIGGER no BEFORE INSERT ON seen WHEN NEW.id = 38",
        "position": "CREATE TRIGGER no BEFORE INSERT ON changeagent_mirrors WHEN NEW.since >= 38",
    }
    for trigger in triggers.values():
        with tempfile.TemporaryDirectory() as folder, Node(history) as node:
            path = os.path.join(folder, "copy.db")
            call = {"op": "mirror", "path": path, "keep": "changes", "limit": 10}
            assert driver.run([node.url], {**call, "until_id": 10})[0].error is None
            with closing(sqlite3.connect(path)) as db:
                db.execute(f"{trigger} BEGIN SELECT RAISE(ABORT, 'no'); END")
            child = driver.start([node.url], [{**call, "until_data": END}], quiet=True)
            child.communicate(timeout=PATIENCE_S)
            assert child.returncode != 0, "it went on although it could not write"
            for table, column in (("changes", "id"), ("seen", "id"), ("changeagent_mirrors", "since")):
                last = rows(path, f"SELECT max({column}) FROM {table}")
                assert last == [(30,)], f"{table} is at {last} after {trigger}"
            with closing(sqlite3.connect(path)) as db:
                db.execute("DROP TRIGGER no")
            assert driver.run([node.url], {**call, "until_data": END})[0].error is None
            check_changes(path, history)


def copies_keys(driver: Driver) -> None:
    for path_of in ({"collection": COLLECTION}, {"tenant": TENANT}):
        history = History()
        at = {"tenant": TENANT, "collection": COLLECTION}
        for n in range(40):
            history.append(VALUES[n % len(VALUES)], **at, key=KEYS[n % len(KEYS)])

        def script(asked: Asked, number: int) -> Fault | None:
            if number == 2:
                history.append(None, **at, key=KEYS[0], deleted=True)
                history.append("7", **at, key=KEYS[3])
            if "/changes" in asked.target and history.changes[-1]["data"] != END:
                history.append("8", **at, key="later")
                history.append(None, **at, key=KEYS[1], deleted=True)
                history.append(END, **at, key="end")
            return Fault(cut=500 + 150 * number, chunk=50)

        with tempfile.TemporaryDirectory() as folder, Node(history, script) as node:
            path = os.path.join(folder, "copy.db")
            outcome = driver.one([node.url], "mirror", path=path, keep="keys", until_data=END, **path_of)
            assert outcome.error is None, outcome.error
            check_keys(path, history)


def builds_anew(driver: Driver) -> None:
    """After another history, and after purged ground; without leave the copy stays as it is."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "copy.db")
        call = {"op": "mirror", "path": path, "keep": "changes", "until_data": END, "block": 0.05}
        history = filled(5)
        history.append(END)
        with Node(history) as node:
            assert driver.run([node.url], call)[0].error is None
            check_changes(path, history)
        other = filled(9)
        other.append(END)
        with Node(other) as node:
            error = driver.run([node.url], call)[0].error
            assert error and error["code"] == "other-history", error
            check_changes(path, history)
            assert driver.run([node.url], {**call, "rebuild": True})[0].error is None
            check_changes(path, other)
            for _ in range(5):
                other.append("1")
            other.append(END)
            other.first = 14
            error = driver.run([node.url], call)[0].error
            assert error and (error["code"], error["first"]) == ("purged", 14), error
            assert driver.run([node.url], {**call, "rebuild": True})[0].error is None
            check_changes(path, other, first=14)
        assert rows(path, "SELECT code FROM resets ORDER BY rowid") == [("other-history",), ("purged",)]


def survives_kills(driver: Driver) -> None:
    """Killed again and again in the middle, it has each change once in the end."""
    history = filled(20)
    chance = random.Random(5)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "copy.db")
        call = {"op": "mirror", "path": path, "keep": "changes", "until_data": END, "limit": 7}
        reached, kills = 0, 0
        while kills < KILLS:
            # It comes so far at most, and is killed on the way there or while it waits.
            goal = history.last
            for _ in range(60):
                history.append(VALUES[history.last % len(VALUES)])
            limit = reached + chance.randint(1, 50)

            def script(asked: Asked, number: int) -> Fault | None:
                if (asked.since or 0) >= limit:
                    child.kill()
                return Fault(cut=chance.randint(1, 3000)) if chance.random() < 0.3 else None

            with Node(history, lambda asked, number: None) as node:
                child = driver.start([node.url], [call])
                node.script = script
                child.communicate(timeout=PATIENCE_S)
                assert child.returncode < 0, f"it ended with {child.returncode} before it was killed"
            kills += 1
            before, reached = reached, rows(path, "SELECT since FROM changeagent_mirrors")[0][0]
            assert before <= reached, "it went back"
            assert goal <= history.last
        history.append(END)
        with Node(history) as node:
            outcome = driver.run([node.url], call)[0]
            assert outcome.error is None, outcome.error
        check_changes(path, history)


def refusals_end_it(driver: Driver) -> None:
    history = filled(3)
    refusal = Refusal(404, "not-found")
    with tempfile.TemporaryDirectory() as folder, Node(history, lambda asked, number: Fault(refusal=refusal)) as node:
        path = os.path.join(folder, "copy.db")
        call = {"op": "mirror", "path": path, "keep": "changes", "rebuild": True, "until_data": END}
        error = driver.run([node.url], call)[0].error
        assert error and (error["kind"], error["code"]) == ("reset", "not-found"), error
        assert len(node.asked) == 1


SCENARIOS = [
    copies_a_list, copies_keys, keys_never_go_back, keys_are_whole_after_a_fail_over, pages_are_whole, builds_anew, survives_kills,
    refusals_end_it,
]
