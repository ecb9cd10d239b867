"""The clusters that packaging/ describes, of containers and of pods, as processes of this machine at addresses of their own."""

import shutil
import subprocess

from tools import PACKAGING, PROGRAM, SMALL, Case, environment, read_yaml


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
        self.names = {f"changeagent-{n}.changeagent.ns.svc": self.address(n + 1) for n in range(self.set["replicas"])}

    def node(self, number):
        """The node of a pod."""
        (container,) = self.pod["containers"]
        self.assertEqual([mount["mountPath"] for mount in container["volumeMounts"]], ["/data"])
        flags = []
        for flag in container["args"]:
            flag = flag.replace("$(POD)", f"changeagent-{number}").replace("$(NAMESPACE)", "ns")
            flag = flag.replace("0.0.0.0", self.address(number + 1)).replace("/data/", f"{self.folder}/{number}/")
            # What there are names for in a cluster of Kubernetes, there are addresses for here.
            for name, place in self.names.items():
                flag = flag.replace(name, place)
            flags.append(flag)
        return self.start(*flags, *SMALL)

    def test_pods_become_a_cluster_and_none_founds_a_second_one(self):
        count = self.set["replicas"]
        # Those that are there wait for the last one.
        nodes = {number: self.node(number) for number in range(1, count)}
        for node in nodes.values():
            self.assertEqual(self.voters(node.url), [])
        nodes[0] = self.node(0)
        want = sorted(f"{place}:9000" for place in self.names.values())
        for node in nodes.values():
            self.eventually("all vote", lambda: self.voters(node.url) == want)

        # A volume is lost: the others take the node in.
        self.end(nodes[0])
        shutil.rmtree(self.folder / "0")
        nodes[0] = self.node(0)
        self.eventually("it votes again", lambda: self.voters(nodes[0].url) == want)
        said = (self.folder / "stderr").read_text(encoding="utf-8")
        self.assertEqual(said.count("this node founds a cluster"), 1)
        self.assertIn("a cluster has a member at this address", said)

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
        self.assertIn(f"--bootstrap-expect={self.set['replicas']}", container["args"])
        told = subprocess.run([PROGRAM, "--version"], env=environment(), check=True, capture_output=True, text=True)
        self.assertEqual(container["image"], told.stdout.strip().replace(" ", ":"))
