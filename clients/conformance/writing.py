"""What a client that writes, and reads keys, must come through."""

from __future__ import annotations

from driver import Driver
from following import check, filled
from history import History, Refusal
from server import Asked, Fault, Node

COLLECTION = "c" * 8 + "-0000-4000-8000-" + "0" * 12
TENANT = "a" * 8 + "-0000-4000-8000-" + "0" * 12
KEYS = ["a", "a/b", "a b", "100%", "?x=1&y#z", "žluť 😀", 'quo"te\\', "+", "tab\tand\nline"]


def happens_once(driver: Driver) -> None:
    """However a write fails, it is tried again, with the same key, and happens once."""
    history = History()
    unknown = Refusal(504, "unknown-outcome")
    faults = [
        Fault(drop=True), Fault(cut=0), Fault(cut=40), Fault(refusal_after=unknown),
        Fault(refusal=Refusal(503, "no-leader", headers={"Retry-After": "0"})), Fault(portal=200),
        Fault(refusal=Refusal(429, "too-many-requests")), Fault(cut=150),
    ]
    tried: dict[str, int] = {}

    def script(asked: Asked, number: int) -> Fault | None:
        """The n-th write fails in the first n ways, and then succeeds."""
        key = asked.headers["idempotency-key"]
        tried[key] = tried.get(key, 0) + 1
        return faults[tried[key] - 1] if tried[key] < len(tried) else None

    calls = [{"op": "append", "data": {"n": n}, "tags": ["é"]} for n in range(7)]
    calls.append({"op": "append_batch", "changes": [{"data": 7}, {"data": 8}, {"data": 9}]})
    with Node(history, script) as node:
        outcomes = driver.run([node.url], *calls)
        assert not node.troubles, node.troubles
    assert [outcome.ok for outcome in outcomes] == [*range(1, 8), {"first": 8, "last": 10, "count": 3}]
    assert history.last == 10, f"{history.last} changes of 10 writes"
    assert sorted(tried.values()) == [*range(1, 9)], tried
    assert history.changes[0]["data"] == '{"n":0}' and history.changes[0]["tags"] == ["é"]


def gives_up(driver: Driver) -> None:
    history = History()
    options = {"retries": 3}
    refusal = Refusal(503, "overloaded", headers={"Retry-After": "0"})
    with Node(history, lambda asked, number: Fault(refusal=refusal)) as node:
        error = driver.one([node.url], "append", options, data=1).error
        assert error and (error["code"], error["outcome_unknown"]) == ("overloaded", False), error
        assert len(node.asked) == 4, f"{len(node.asked)} tries, not 1 and 3 more"
    with Node(history, lambda asked, number: Fault(cut=20)) as node:
        error = driver.one([node.url], "append", options, data=1).error
        assert error and (error["kind"], error["outcome_unknown"]) == ("broken", True), error
        key = node.asked[0].headers["idempotency-key"]
        assert error["idempotency_key"] == key
        assert {asked.headers["idempotency-key"] for asked in node.asked} == {key}
    assert history.last == 1
    with Node(history) as node:
        assert driver.one([node.url], "append", data=1, idempotency_key=key).ok == 1
    assert history.last == 1


def doubt_remains(driver: Driver) -> None:
    """One try may have happened, the later ones certainly did not."""
    history = History()
    refusal = Refusal(503, "overloaded", headers={"Retry-After": "0"})
    script = lambda asked, number: Fault(cut=20) if number == 0 else Fault(refusal=refusal)  # noqa: E731
    with Node(history, script) as node:
        error = driver.one([node.url], "append", {"retries": 3}, data=1).error
        assert error and (error["code"], error["outcome_unknown"]) == ("overloaded", True), error
    assert history.last == 1


def waits_as_asked(driver: Driver) -> None:
    history = History()
    refusal = Refusal(503, "overloaded", headers={"Retry-After": "1"})
    script = lambda asked, number: Fault(refusal=refusal) if number == 0 else None  # noqa: E731
    with Node(history, script) as node:
        assert driver.one([node.url], "append", data=1).ok == 1
        waited = node.asked[1].at - node.asked[0].at
        assert waited >= 1, f"Retry-After was 1 s, the client waited {waited:.3f} s"
    with Node(history, lambda asked, number: Fault(refusal=refusal)) as busy, Node(history) as other:
        assert driver.one([busy.url, other.url], "append", data=2).ok == 2
        waited = other.asked[0].at - busy.asked[0].at
        assert waited < 0.9, f"the other node was asked only after {waited:.3f} s"


def refusals_are_final(driver: Driver) -> None:
    history = History()
    for refusal in (Refusal(400, "invalid-json"), Refusal(403, "forbidden"), Refusal(413, "too-large"),
                    Refusal(422, "idempotency-mismatch")):
        with Node(history, lambda asked, number: Fault(refusal=refusal)) as node:
            error = driver.one([node.url], "append", data=1).error
            assert error and error["code"] == refusal.code and error["status"] == refusal.status, error
            assert error["detail"] == "so says the script" and not error["outcome_unknown"], error
            assert len(node.asked) == 1


def doubt_of_a_kept_connection(driver: Driver) -> None:
    """A kept connection that ends without an answer may have carried the write."""
    history = History()
    refusal = Refusal(503, "overloaded", headers={"Retry-After": "0"})
    script = lambda asked, number: (None, Fault(cut=0))[number] if number < 2 else Fault(refusal=refusal)  # noqa: E731
    with Node(history, script) as node:
        calls = [{"op": "append", "data": data} for data in (1, 2)]
        first, second = driver.run([node.url], *calls, retries=0)
        assert first.ok == 1, first
        # The second came to pass, whatever was answered to what was sent after it.
        assert history.last == 2 and second.error and second.error["outcome_unknown"], second


def another_history_is_told(driver: Driver) -> None:
    for knows_cluster in (True, False):
        history = History(knows_cluster)
        with Node(history) as node:
            options = {"cluster": "0" * 8 + "-0000-4000-8000-" + "0" * 12}
            error = driver.one([node.url], "append", options, data=1).error
            assert error and error["code"] == "other-history" and error["cluster"] == history.cluster, error
            # An earlier node does not know which history is meant, and writes into its own.
            assert history.last == (0 if knows_cluster else 1)
            assert error["outcome_unknown"] == (not knows_cluster), error


def keys(driver: Driver) -> None:
    history = History()
    at = {"collection": COLLECTION}
    with Node(history, token="secret") as node:
        calls = [{"op": "put", "key": key, "data": key, **at} for key in KEYS]
        outcomes = driver.run([node.url], *calls, token="secret")
        assert [outcome.ok for outcome in outcomes] == [*range(1, len(KEYS) + 1)], outcomes
        assert [key for _, key in history.keys] == KEYS
        calls = [{"op": "get", "key": key, **at} for key in KEYS]
        calls += [{"op": "get", "key": "none", **at}, {"op": "keys", "limit": 2, **at}]
        calls += [{"op": "keys", "prefix": "a", "limit": 1, **at}]
        *found, none, listed, some = driver.run([node.url], *calls, token="secret")
        assert [outcome.ok[0] for outcome in found] == [*range(1, len(KEYS) + 1)]
        assert none.error is None and none.ok is None
        in_order = sorted(KEYS, key=str.encode)
        assert listed.ids == [KEYS.index(key) + 1 for key in in_order], listed
        assert some.ids == [KEYS.index(key) + 1 for key in ("a", "a b", "a/b")], some
        n = len(KEYS)
        outcomes = driver.run(
            [node.url],
            {"op": "put", "key": "a", "data": 2, "if_match": 1, **at},
            {"op": "put", "key": "a", "data": 3, "if_match": 1, **at},
            {"op": "put", "key": "a", "data": 3, "if_absent": True, **at},
            {"op": "put", "key": "new", "data": 3, "if_absent": True, **at},
            {"op": "delete", "key": "a", "if_match": 7, **at},
            {"op": "delete", "key": "a", **at},
            {"op": "delete", "key": "a", **at},
            token="secret",
        )
        codes = [outcome.error and (outcome.error["code"], outcome.error["problem"]["current"]) for outcome in outcomes]
        refused = ("precondition-failed", n + 1)
        assert codes == [None, refused, refused, None, refused, None, None], codes
        assert [outcome.ok for outcome in outcomes] == [n + 1, None, None, n + 2, None, n + 3, None]


def reads_once_more(driver: Driver) -> None:
    """A read is tried again, at another node too."""
    history = filled(5)
    faults = [Fault(cut=60), Fault(drop=True), Fault(refusal=Refusal(503, "behind")), Fault(portal=200),
              Fault(portal=404)]
    script = lambda asked, number: faults[number] if number < 5 else None  # noqa: E731
    with Node(history, script) as node:
        outcome = driver.one([node.url], "read", since=1, limit=3)
        assert outcome.ids == [2, 3, 4] and outcome.ok["position"] == f"{history.cluster}/4", outcome
        gone = Node(history)
        gone.stop()
        outcome = driver.one([gone.url, node.url], "read", since=0, limit=5)
        check(history, outcome)


def state_then_changes(driver: Driver) -> None:
    """A state that breaks off goes on behind the last key; then the changes after it follow."""
    history = History()
    for n in range(12):
        for key in KEYS:
            history.append(str(n), tenant=TENANT, collection=COLLECTION, key=key)
    resumed: list[str] = []

    def script(asked: Asked, number: int) -> Fault | None:
        if "/state" not in asked.target:
            return None
        resumed.append(asked.target)
        if number == 2:
            # Meanwhile: the position stays the one of the first reading.
            history.append(None, tenant=TENANT, collection=COLLECTION, key="a", deleted=True)
            history.append('"new"', tenant=TENANT, collection=COLLECTION, key="z")
        return Fault(cut=600 + 150 * number, chunk=None if number % 2 else 30)

    with Node(history, script) as node:
        for path in ({"collection": COLLECTION}, {"tenant": TENANT}):
            since = history.last
            outcome = driver.one([node.url], "state", **path)
            assert outcome.error is None, outcome.error
            assert outcome.ok["position"] == f"{history.cluster}/{since}", (outcome.ok, since)
            seen = [history.changes[id - 1]["key"] for id in outcome.ids]
            assert seen == sorted(seen, key=str.encode) and len(seen) == len(set(seen)), seen
            held = {history.changes[id - 1]["key"]: id for id in outcome.ids}
            for id in range(since + 1, history.last + 1):
                change = history.changes[id - 1]
                held[change["key"]] = max(id, held.get(change["key"], 0))
            live = {key: id for key, id in held.items() if not history.changes[id - 1].get("deleted")}
            assert live == {key: id for (_, key), id in history.keys.items()}, live
        assert len(resumed) > 4 and any("after=" in target for target in resumed), resumed


SCENARIOS = [
    happens_once, gives_up, doubt_remains, doubt_of_a_kept_connection, waits_as_asked, refusals_are_final, another_history_is_told, keys,
    reads_once_more, state_then_changes,
]
