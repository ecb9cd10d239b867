"""The service of systemd: its unit, its settings, and what its filter of system calls lets the program do."""

import re
import subprocess
import urllib.request

from tools import PACKAGING, PROGRAM, SMALL, Case, environment, installed

UNIT = PACKAGING / "systemd" / "changeagent.service"
SETTINGS = PACKAGING / "etc" / "changeagent.toml"


def of_unit(name):
    """All values of a setting of the unit."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    return [line.split("=", 1)[1] for line in lines if line.startswith(f"{name}=")]


class Service(Case):
    def test_systemd_takes_the_unit(self):
        analyze = installed("systemd-analyze")
        unit = UNIT.read_text(encoding="utf-8").replace("/usr/bin/changeagent", PROGRAM)
        here = self.folder / "changeagent.service"
        # The manual page is in the package.
        here.write_text(re.sub(r"(?m)^Documentation=.*\n", "", unit), encoding="utf-8")
        for arguments in (["verify", here], ["security", "--offline=true", "--threshold=20", here]):
            done = subprocess.run([analyze, *map(str, arguments)], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertNotIn(here.name + ":", done.stderr)

    def test_the_command_of_the_unit_runs_with_the_settings_of_the_package(self):
        (command,) = of_unit("ExecStart")
        program, *arguments = command.split()
        self.assertEqual((program, arguments), ("/usr/bin/changeagent", ["serve", "--config", f"/etc/changeagent/{SETTINGS.name}"]))
        settings = SETTINGS.read_text(encoding="utf-8")
        self.assertIn(f'data = "/var/lib/{of_unit("StateDirectory")[0]}"', settings)
        here = self.folder / SETTINGS.name
        moved = settings.replace("/var/lib/changeagent", str(self.folder / "data")).replace("127.0.0.1:9000", f"{self.address(1)}:0")
        here.write_text(moved, encoding="utf-8")
        node = self.start("serve", "--config", str(here))
        with urllib.request.urlopen(f"{node.url}/ready") as answer:
            self.assertEqual(answer.status, 200)

    def test_the_settings_that_the_package_shows_are_known(self):
        shown = [line[1:] for line in SETTINGS.read_text(encoding="utf-8").splitlines() if re.match(r"#[a-z-]+ = ", line)]
        self.assertGreater(len(shown), 10)
        here = self.folder / SETTINGS.name
        for line in shown:
            # Of each it is said what else is missing, never that there is no such setting. None starts.
            here.write_text(f"cores = 0\n{line}\n", encoding="utf-8")
            done = subprocess.run([PROGRAM, "--config", str(here)], env=environment(), capture_output=True, text=True)
            self.assertEqual(done.returncode, 1, line)
            self.assertNotIn("is not valid", done.stderr, line)

    def test_the_filter_of_system_calls_lets_the_program_do_all_that_it_does(self):
        analyze, strace = installed("systemd-analyze"), installed("strace")
        allowed = filtered(analyze, of_unit("SystemCallFilter"))
        self.assertIn("read", allowed)
        self.assertNotIn("mount", allowed)
        calls = self.folder / "calls"
        data = ("--data", str(self.folder / "data"), f"--listen={self.address(1)}:0", f"--cluster-listen={self.address(1)}:0", "--found", *SMALL)
        node = self.start(*data, "--cores=2", "--insecure", launcher=(strace, "-f", "-qq", "-e", "signal=none", "-o", str(calls)))
        change = urllib.request.Request(f"{node.url}/changes", data=b'{"data":"' + b"x" * 70000 + b'"}')
        with urllib.request.urlopen(change) as answer:
            self.assertEqual(answer.status, 201)
        for path in ("/changes?since=0", "/metrics", "/cluster", "/health", "/changes?since=now&block=0.1"):
            with urllib.request.urlopen(node.url + path) as answer:
                self.assertEqual(answer.status, 200, path)
        # The program is a child of what watches it.
        child = subprocess.run(["ps", "-o", "pid=", "--ppid", str(node.pid)], capture_output=True, text=True)
        subprocess.run(["kill", "-TERM", child.stdout.strip()], check=True)
        self.assertEqual(node.wait(30), 0)
        made = set(re.findall(r"(?m)^\d+ +(?:<\.\.\. )?([a-z_0-9]+)[ (]", calls.read_text(encoding="utf-8")))
        self.assertIn("io_uring_enter", made)
        self.assertEqual(made - allowed, set(), "the unit forbids these")


def filtered(analyze, lines):
    """What the lines of a filter allow, which are lists that allow, or, after a ~, forbid."""
    allowed = members(analyze, "@default")
    for line in lines:
        names = set().union(*(members(analyze, name) for name in line.removeprefix("~").split()))
        allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed


def members(analyze, name):
    """The calls of a set, and of those in it."""
    if not name.startswith("@"):
        return {name}
    told = subprocess.run([analyze, "--no-pager", "syscall-filter", name], check=True, capture_output=True, text=True)
    inside = [line.strip() for line in told.stdout.splitlines()[1:]]
    return set().union(*(members(analyze, one) for one in inside if one and not one.startswith("#")))
