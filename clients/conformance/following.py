"""What a client that follows a list must come through."""

from __future__ import annotations

from driver import Driver, Outcome
from history import History, Refusal, encode
from server import Asked, Fault, Node

#: Values whose text must arrive as it was sent.
VALUES = [
    "1", "3.0", "12345678901234567890123456789", "-0", '"\\u0041\\n \\"},{\\\\"', "null",
    '{"b":1,"a":[true,{"c":"]}"}],"b":2}', encode("žluťoučký kůň 😀"), '""', "[]", "{ }", "1E+2",
]
END = '"the end"'
MODES = ("wait", "stream")
TENANT = "f" * 8 + "-0000-4000-8000-" + "0" * 12


def filled(count: int, **options: bool) -> History:
    history = History(**options)
    for n in range(count):
        history.append(VALUES[n % len(VALUES)])
    return history


def check(history: History, outcome: Outcome, since: int = 0) -> None:
    """Everything after `since` was handed over once, in order, exactly."""
    assert outcome.error is None, outcome.error
    wanted = [
        [change["_id"], change["data"], f"{history.cluster}/{change['_id']}"]
        for change in history.changes[since:]
    ]
    for got, want in zip(outcome.changes, wanted):
        assert got == want, f"{got} was handed over, not {want}"
    assert len(outcome.changes) == len(wanted), f"{len(outcome.changes)} of {len(wanted)} handed over"


def cuts_at_any_byte(driver: Driver, mode: str) -> None:
    history = filled(3)
    finished = 600

    def script(asked: Asked, number: int) -> Fault | None:
        if number > finished:
            return None
        while history.last < (asked.since or 0) + 8:
            history.append(VALUES[history.last % len(VALUES)])
        if number == finished:
            history.append(END)
        return Fault(cut=number)

    with Node(history, script) as node:
        outcome = driver.one([node.url], "follow", mode=mode, since=0, limit=4, block=0.2, until_data=END)
        check(history, outcome)
        assert len(node.asked) > finished, "not every byte was cut at"


def slow_bytes_and_half_chunks(driver: Driver, mode: str) -> None:
    history = filled(12)
    history.append(END)

    def script(asked: Asked, number: int) -> Fault:
        return [Fault(piece=1, pause=0.0003), Fault(chunk=3), Fault(chunk=5, piece=2)][number % 3]

    with Node(history, script) as node:
        check(history, driver.one([node.url], "follow", mode=mode, since=0, limit=3, block=0.05, until_data=END))


def duplicates(driver: Driver, mode: str) -> None:
    history = filled(20)
    history.append(END)

    def again(ids: list[int]) -> list[int]:
        before = [id for id in (ids[0] - 2, ids[0] - 1) if id > 0] if ids else []
        return before + [id for one in ids for id in (one, one)]

    with Node(history, lambda asked, number: Fault(rewrite=again, chunk=40)) as node:
        check(history, driver.one([node.url], "follow", mode=mode, since=0, limit=4, block=0.05, until_data=END))


def nothing_is_skipped(driver: Driver, mode: str) -> None:
    """A change is missing in some answers, or they are out of order."""
    nothing_of_a_list_is_skipped(driver, mode, {})
    if mode == "wait":
        # In a stream that is filtered, nobody sees that something is to come before the first line.
        nothing_of_a_list_is_skipped(driver, mode, {"tenant": TENANT})


def nothing_of_a_list_is_skipped(driver: Driver, mode: str, place: dict[str, str]) -> None:
    history = History()
    for n in range(2):
        history.append(VALUES[n], **place)

    def script(asked: Asked, number: int) -> Fault | None:
        if number == 1:
            for n in range(2, 20):
                history.append(VALUES[n % len(VALUES)], **place)
            history.append(END, **place)
        missing = Fault(rewrite=lambda ids: [id for id in ids if id % 5])
        turned = Fault(rewrite=lambda ids: ids[::-1])
        if place:
            # Only of a list of everything it is known which ids are to come.
            return [None, turned][number % 2]
        return [None, turned, missing][number % 3]

    with Node(history, script) as node:
        call = {"mode": mode, "since": 0, "limit": 7, "block": 0.05, "until_data": END, **place}
        outcome = driver.one([node.url], "follow", **call)
        check(history, outcome)
        assert len(node.asked) >= 3


def unavailable_and_portals(driver: Driver, mode: str) -> None:
    history = filled(5)
    history.append(END)
    refused = Refusal(503, "no-leader", headers={"Retry-After": "1"})
    faults = [Fault(portal=200), Fault(refusal=refused), Fault(refusal=Refusal(502, "")), Fault(drop=True),
              Fault(portal=403), Fault(portal=302)]

    with Node(history, lambda asked, number: faults[number] if number < 6 else None) as node:
        check(history, driver.one([node.url], "follow", mode=mode, since=0, limit=3, until_data=END))
        assert len(node.asked) >= 7
        waited = node.asked[2].at - node.asked[1].at
        assert waited >= 1, f"Retry-After was 1 s, the client waited {waited:.3f} s"


def purged(driver: Driver, mode: str) -> None:
    history = filled(10)
    history.first = 8
    with Node(history) as node:
        outcome = driver.one([node.url], "follow", mode=mode, since=3, until_data=END)
        assert outcome.error and outcome.error["kind"] == "reset", outcome
        assert (outcome.error["code"], outcome.error["first"]) == ("purged", 8), outcome.error
        assert not outcome.changes and len(node.asked) == 1
        history.append(END)
        check(history, driver.one([node.url], "follow", mode=mode, since=0, until_data=END), since=7)


def other_history(driver: Driver, mode: str) -> None:
    """A restart with another history, before and after nodes know the parameter."""
    for knows_cluster in (True, False):
        old, new = filled(4, knows_cluster=knows_cluster), filled(9, knows_cluster=knows_cluster)
        new.append(END)
        with Node(old) as node:
            def script(asked: Asked, number: int) -> Fault | None:
                if asked.since == 4:
                    node.history = new
                return None

            node.script = script
            outcome = driver.one([node.url], "follow", mode=mode, since=0, block=0.05, until_data=END)
            assert outcome.error, f"changes of two histories were mixed: {outcome.ids}"
            error, outcome.error = outcome.error, None
            check(old, outcome)
            assert (error["kind"], error["code"]) == ("reset", "other-history"), error
            assert error["cluster"] == new.cluster, error
        with Node(new) as node:
            since = f"{old.cluster}/4"
            outcome = driver.one([node.url], "follow", mode=mode, since=since, block=0.05, until_data=END)
            assert outcome.error and outcome.error["code"] == "other-history", outcome
            assert not outcome.changes


def fails_over(driver: Driver, mode: str) -> None:
    """One node goes away for good; the other lies behind at first."""
    history, behind = filled(6), History()
    behind.cluster, behind.is_behind = history.cluster, True
    for n in range(3):
        behind.append(VALUES[n])
    nodes = [Node(history), Node(behind)]

    def script(asked: Asked, number: int) -> Fault | None:
        if asked.since == 6:
            nodes[0].stop()
            return Fault(drop=True)
        return None

    def catch_up(asked: Asked, number: int) -> Fault | None:
        if number == 0:
            # It does not know the list yet.
            return Fault(refusal=Refusal(404, "not-found"))
        if number == 3:
            for n in range(3, 9):
                behind.append(VALUES[n])
            behind.append(END)
        return None

    nodes[0].script, nodes[1].script = script, catch_up
    urls = [node.url for node in nodes]
    outcome = driver.one(urls, "follow", mode=mode, since=0, limit=100, block=0.05, until_data=END)
    check(behind, outcome)
    nodes[1].stop()


def filtered(driver: Driver, mode: str) -> None:
    """Positions move on through what is not of the list."""
    history = History()
    for n in range(60):
        history.append(str(n), **({"tags": ["odd"]} if n % 20 == 0 else {}), tenant=TENANT)

    def script(asked: Asked, number: int) -> Fault | None:
        if number == 3:
            history.append(END, tags=["odd", "é&="], tenant=TENANT)
        return None

    with Node(history, script) as node:
        outcome = driver.one(
            [node.url], "follow", mode=mode, since=0, block=0.02, until_data=END, tenant=TENANT, tags=["odd"]
        )
        assert outcome.error is None and outcome.ids == [1, 21, 41, 61], outcome
        since = [asked.since for asked in node.asked]
        assert since == sorted(since) and 60 in since, since
        outcome = driver.one([node.url], "follow", mode=mode, since=0, until_data=END, tags=["é&="])
        assert outcome.ids == [61], outcome


def from_now(driver: Driver, mode: str) -> None:
    """What comes after the start is not lost when the first connections break."""
    history = filled(5)

    def script(asked: Asked, number: int) -> Fault | None:
        if number == 1:
            history.append("1")
            return Fault(drop=True)
        if number == 2:
            history.append(END)
            return Fault(refusal=Refusal(503, "overloaded", headers={"Retry-After": "0"}))
        return None

    with Node(history, script) as node:
        outcome = driver.one([node.url], "follow", mode=mode, since="now", block=0.05, until_data=END)
        check(history, outcome, since=5)


def long_waits(driver: Driver, mode: str) -> None:
    """A node waits for 300 s at most, and takes no exponents: nothing else is asked of it."""
    history = filled(2)

    def script(asked: Asked, number: int) -> Fault | None:
        if number == 0:
            history.append(END)
        return None

    with Node(history, script) as node:
        for block in (2_592_000, 0.00005):
            outcome = driver.one([node.url], "follow", mode=mode, since=0, block=block, until_data=END)
            check(history, outcome)
        asked = [asked.target.partition("block=")[2].partition("&")[0] for asked in node.asked]
        assert asked[0] == "300" and not any("e" in block.lower() for block in asked), asked
        assert 0 < float(asked[-1]) <= 0.001, asked


def silence(driver: Driver, mode: str) -> None:
    """A node that says nothing any more is left."""
    history = filled(3)

    def script(asked: Asked, number: int) -> Fault | None:
        if number == 1:
            history.append(END)
        return Fault(silent=True) if number == 0 else None

    with Node(history, script) as node:
        options = {"silence": 0.3}
        outcome = driver.one([node.url], "follow", options, mode="stream", since=0, until_data=END)
        check(history, outcome)


def refused_for_good(driver: Driver, mode: str) -> None:
    history = filled(3)
    with Node(history, token="right") as node:
        outcome = driver.one([node.url], "follow", {"token": "wrong"}, mode=mode, since=0, until_data=END)
        assert outcome.error and outcome.error["code"] == "unauthenticated", outcome
        assert len(node.asked) == 1
        history.append(END)
        right = {"token": "right"}
        check(history, driver.one([node.url], "follow", right, mode=mode, since=0, until_data=END))


SCENARIOS = [
    cuts_at_any_byte, slow_bytes_and_half_chunks, duplicates, nothing_is_skipped,
    unavailable_and_portals, purged, other_history, fails_over, filtered, from_now, long_waits, silence,
    refused_for_good,
]
