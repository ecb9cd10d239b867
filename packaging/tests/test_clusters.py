"""The clusters that packaging/ describes, of containers and of pods, as processes of this machine at addresses of their own."""

import os
import shutil
import subprocess
from pathlib import Path

from tools import PACKAGING, PROGRAM, SMALL, Case, environment, read_yaml

#: What stands in for wget, and for the names of pods: they are looked up in a file.
WGET = """#!/bin/sh
for url; do :; done
while read -r name address; do url=$(printf %s "$url" | sed "s#//$name:#//$address:#"); done <"$NAMES"
exec curl -sf --max-time 2 "$url"
"""


class Compose(Case):
    def test_three_containers_become_a_cluster(self):
        (compose,) = read_yaml(PACKAGING / "container" / "compose.yaml")
        services = compose["services"]
        places = {name: self.address(number) for number, name in enumerate(services, 1)}
        nodes = []
        for name, service in services.items():
            flags = [here(flag, name, places) for flag in service["command"]]
            self.assertNotEqual(flags, service["command"])
            nodes.append(self.start("--data", str(self.folder / name), *flags, *SMALL))
            self.assertIn(f"{name}:/data", service["volumes"])
        want = sorted(f"{place}:9000" for place in places.values())
        for node in nodes:
            self.eventually("all three vote", lambda: self.voters(node.url) == want)


def here(flag, name, places):
    """A flag with the addresses of this test in place of names, and its own in place of all."""
    flag = flag.replace("0.0.0.0", places[name])
    for other, place in places.items():
        flag = flag.replace(f"={other}:", f"={place}:").replace(f",{other}:", f",{place}:")
    return flag


class Kubernetes(Case):
    def setUp(self):
        super().setUp()
        documents = read_yaml(PACKAGING / "kubernetes" / "changeagent.yaml")
        self.objects = {(one["kind"], one["metadata"]["name"]): one for one in documents}
        self.set = self.objects["StatefulSet", "changeagent"]["spec"]
        self.pod = self.set["template"]["spec"]
        self.begin = self.folder / "begin.sh"
        self.begin.write_text(self.objects["ConfigMap", "changeagent"]["data"]["begin.sh"], encoding="utf-8")
        self.names = {f"changeagent-{n}.changeagent.ns.svc": self.address(n + 1) for n in range(self.set["replicas"])}
        (self.folder / "names").write_text("".join(f"{name} {place}\n" for name, place in self.names.items()), encoding="utf-8")
        (self.folder / "wget").write_text(WGET, encoding="utf-8")
        (self.folder / "wget").chmod(0o755)

    def variables(self, number):
        """Those of the first container of a pod, with its paths in the folder of the test."""
        values = {}
        for one in self.pod["initContainers"][0]["env"]:
            field = one.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            value = {"metadata.name": f"changeagent-{number}", "metadata.namespace": "ns", None: one.get("value")}[field]
            values[one["name"]] = value.replace("$(NAMESPACE)", "ns")
        for name in ("DATA", "SETTINGS"):
            values[name] = str(self.folder / str(number) / Path(values[name]).name)
        Path(values["DATA"]).parent.mkdir(exist_ok=True)
        return values

    def decides(self, number):
        """The process that decides how a pod begins."""
        path = f"{self.folder}:{os.environ['PATH']}"
        variables = environment(**self.variables(number), NAMES=str(self.folder / "names"), PATH=path)
        decides = subprocess.Popen(["sh", str(self.begin)], env=variables, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end, decides)
        return decides

    def node(self, number):
        """The node of a pod, once it is decided how it begins."""
        container, variables = self.pod["containers"][0], self.variables(number)
        self.assertEqual([mount["mountPath"] for mount in container["volumeMounts"]], ["/settings", "/data"])
        settings = Path(variables["SETTINGS"])
        text = settings.read_text(encoding="utf-8")
        flags = []
        for flag in container["args"]:
            flag = flag.replace("$(POD)", f"changeagent-{number}").replace("$(NAMESPACE)", "ns")
            flag = flag.replace("0.0.0.0", self.address(number + 1))
            flags.append(flag.replace("/settings/", f"{settings.parent}/").replace("/data/", f"{settings.parent}/"))
        # What there are names for in a cluster of Kubernetes, there are addresses for here.
        for name, place in self.names.items():
            text, flags = text.replace(name, place), [flag.replace(name, place) for flag in flags]
        settings.write_text(text, encoding="utf-8")
        return self.start(*flags, *SMALL)

    def test_pods_become_a_cluster_and_the_first_founds_no_second_one(self):
        count = self.set["replicas"]
        # The first pod waits for the others, which ask to be taken in.
        first = self.decides(0)
        for _ in range(count):
            self.assertIn("has not said yet whether it belongs to a cluster", first.stdout.readline())
        nodes = {}
        for number in range(1, count):
            self.assertEqual(self.decides(number).wait(10), 0)
            nodes[number] = self.node(number)
        self.assertEqual(first.wait(20), 0)
        self.assertIn("this one founds it", first.stdout.read())
        nodes[0] = self.node(0)
        want = sorted(f"{place}:9000" for place in self.names.values())
        for node in nodes.values():
            self.eventually("all vote", lambda: self.voters(node.url) == want)

        # Its volume is lost: the others take it in.
        self.end(nodes[0])
        shutil.rmtree(self.variables(0)["DATA"])
        again = self.decides(0)
        self.assertEqual(again.wait(20), 0)
        self.assertIn("belongs to a cluster: it is asked to take this node in", again.stdout.read())
        nodes[0] = self.node(0)
        self.eventually("it votes again", lambda: self.voters(nodes[0].url) == want)

        # With its volume it goes on, whether the others can be asked or not.
        for node in nodes.values():
            self.end(node)
        self.assertEqual(self.decides(0).wait(10), 0)

    def test_the_objects_fit_each_other(self):
        labels = self.set["template"]["metadata"]["labels"]
        self.assertEqual(self.set["selector"]["matchLabels"], labels)
        for name in ("changeagent", "changeagent-client"):
            self.assertEqual(self.objects["Service", name]["spec"]["selector"], labels)
        self.assertTrue(self.objects["Service", "changeagent"]["spec"]["publishNotReadyAddresses"])
        self.assertEqual(self.set["serviceName"], "changeagent")
        for kind in ("PodDisruptionBudget", "NetworkPolicy"):
            spec = self.objects[kind, "changeagent"]["spec"]
            self.assertEqual((spec.get("selector") or spec["podSelector"])["matchLabels"], labels)
        container = self.pod["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        self.assertEqual(ports, {"http": 9000, "cluster": 9001})
        for probe, path in (("startupProbe", "/health"), ("livenessProbe", "/health"), ("readinessProbe", "/ready")):
            self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "http"})
        names = next(flag for flag in container["args"] if flag.startswith("--allow-host=")).removeprefix("--allow-host=")
        self.assertIn("changeagent-client", names.split(","))
        self.assertEqual(str(self.set["replicas"]), self.variables(0)["NODES"])
        told = subprocess.run([PROGRAM, "--version"], env=environment(), check=True, capture_output=True, text=True)
        self.assertEqual(container["image"], told.stdout.strip().replace(" ", ":"))
