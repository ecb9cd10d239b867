#!/usr/bin/env python3
"""Runs a client library through faults: `run.py [--only WORD] [--skip WORD] NAME COMMAND…`.

COMMAND is the library's driver: see README.md. Exit code 1 if a scenario fails.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Callable

import following
import mirroring
import secured
import writing
from driver import Driver

#: Scenarios at a time: they wait more than they work.
AT_ONCE = 4


def scenarios() -> dict[str, Callable[[Driver], None]]:
    found: dict[str, Callable[[Driver], None]] = {}
    for scenario in following.SCENARIOS:
        for mode in following.MODES:
            found[f"following.{scenario.__name__}[{mode}]"] = lambda driver, s=scenario, m=mode: s(driver, m)
    for module in (writing, mirroring, secured):
        for scenario in module.SCENARIOS:
            found[f"{module.__name__}.{scenario.__name__}"] = scenario
    return found


def chooses(arguments: argparse.Namespace, name: str) -> bool:
    is_wanted = any(word in name for word in arguments.only or [""])
    return is_wanted and arguments.skip not in name


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append", help="scenarios whose names hold this; repeatable")
    parser.add_argument("--skip", default="-", help="no scenarios whose names hold this")
    parser.add_argument("name")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    driver = Driver(arguments.command)

    def run(item: tuple[str, Callable[[Driver], None]]) -> bool:
        name, scenario = item
        start = time.monotonic()
        try:
            scenario(driver)
        except Exception:
            print(f"FAILED {arguments.name} {name}\n{traceback.format_exc()}", flush=True)
            return False
        print(f"ok {arguments.name} {name} ({time.monotonic() - start:.1f} s)", flush=True)
        return True

    chosen = [item for item in scenarios().items() if chooses(arguments, item[0])]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        passed = sum(pool.map(run, chosen))
    print(f"{arguments.name}: {passed} passed, {len(chosen) - passed} failed")
    return 0 if chosen and passed == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
