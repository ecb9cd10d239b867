"""What packages are made of, and what is brought for those who watch."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

from tools import PACKAGING, PROGRAM, ROOT, Case, environment, installed


class Files(Case):
    def test_the_list_of_licences_is_that_of_the_lock_file(self):
        done = subprocess.run([PACKAGING / "licences", "--check"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_program_needs_no_newer_c_library_than_is_said(self):
        said = re.search(r"glibc (2\.\d+)", (ROOT / "docs" / "install.md").read_text(encoding="utf-8"))[1]
        needs = subprocess.run([installed("objdump"), "-T", PROGRAM], check=True, capture_output=True, text=True).stdout
        # What is weak is done without where it is missing.
        strong = [line for line in needs.splitlines() if "*UND*" in line and " w " not in line]
        versions = {tuple(map(int, re.search(r"GLIBC_(\d+)\.(\d+)", line).groups())) for line in strong if "GLIBC_" in line}
        self.assertEqual(max(versions), tuple(map(int, said.split("."))))

    def test_a_release_has_all_that_the_package_takes(self):
        installed("objcopy")
        done = subprocess.run([PACKAGING / "release", PROGRAM], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        assets = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["package"]["metadata"]["deb"]["assets"]
        for source, _, _ in assets:
            self.assertTrue(list(ROOT.glob(source)), source)
        dist = ROOT / "target" / "dist"
        version = subprocess.run([dist / "changeagent", "--version"], env=environment(), check=True, capture_output=True, text=True)
        self.assertRegex(version.stdout, r"^changeagent \d")
        self.assertLess((dist / "changeagent").stat().st_size, Path(PROGRAM).stat().st_size / 2)
        sections = subprocess.run(["objdump", "-h", dist / "changeagent"], check=True, capture_output=True, text=True).stdout
        self.assertIn(".gnu_debuglink", sections)
        self.assertNotIn(".debug_info", sections)
        subprocess.run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=dist, check=True)
        texts = (dist / "THIRD-PARTY.txt").read_text(encoding="utf-8")
        self.assertIn("Mozilla Public License", texts)
        self.assertIn("Permission is hereby granted", texts)

    def test_a_package_is_made_and_unpacked(self):
        built = sorted(ROOT.glob("target/cargo-deb-*/bin/cargo-deb"))
        if not built:
            # It takes minutes to be built: packaging/deb does that.
            self.skipTest("cargo-deb is not built")
        installed("dpkg-deb")
        self.test_a_release_has_all_that_the_package_takes()
        package = self.folder / "changeagent.deb"
        made = subprocess.run([built[-1], "--no-build", "--no-strip", "--output", package], cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(made.returncode, 0, made.stderr)
        subprocess.run(["dpkg-deb", "-x", package, self.folder / "root"], check=True)
        subprocess.run(["dpkg-deb", "-e", package, self.folder / "control"], check=True)
        for path in ("usr/bin/changeagent", "usr/lib/systemd/system/changeagent.service", "etc/changeagent/changeagent.toml"):
            self.assertTrue((self.folder / "root" / path).is_file() or (self.folder / "root" / path.removeprefix("usr/")).is_file(), path)
        conffiles = (self.folder / "control" / "conffiles").read_text(encoding="utf-8")
        self.assertEqual(conffiles.split(), ["/etc/changeagent/changeagent.toml"])
        for script in ("postinst", "postrm", "prerm"):
            text = (self.folder / "control" / script).read_text(encoding="utf-8")
            self.assertNotIn("#DEBHELPER#", text)
            subprocess.run(["sh", "-n", self.folder / "control" / script], check=True)

    def test_what_the_dashboard_asks_can_be_asked(self):
        promtool = installed("promtool")
        dashboard = json.loads((PACKAGING / "grafana" / "changeagent.json").read_text(encoding="utf-8"))
        numbers = [panel["id"] for panel in dashboard["panels"]]
        self.assertEqual(len(numbers), len(set(numbers)))
        asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
        self.assertGreater(len(asked), 30)
        rules = [{"record": f"asked:{number}", "expr": in_prometheus(expr)} for number, expr in enumerate(asked)]
        file = self.folder / "rules.json"
        file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
        done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_profile_of_seccomp_adds_three_calls_to_the_default(self):
        installed("jq")
        default = self.folder / "default.json"
        before = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}
        default.write_text(json.dumps(before), encoding="utf-8")
        command = PACKAGING / "container" / "seccomp"
        made = json.loads(subprocess.run([command, default], check=True, capture_output=True).stdout)
        (added,) = made["syscalls"][1:]
        self.assertEqual(made["syscalls"][:1], before["syscalls"])
        self.assertEqual(added, {"names": ["io_uring_setup", "io_uring_enter", "io_uring_register"], "action": "SCMP_ACT_ALLOW"})
        default.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}', encoding="utf-8")
        self.assertNotEqual(subprocess.run([command, default], capture_output=True).returncode, 0)


def in_prometheus(expression):
    """An expression with what Grafana puts in place of its variables."""
    return re.sub(r"\$(job|instance)\b", ".*", expression.replace("$__rate_interval", "5m"))
