#!/usr/bin/env python3
"""How much a tenant at 10 times its quota moves another's latency.

  benches/noisy_tenant.py --program target/release/changeagent [--quota 200] [--factor 10] [--rounds 5] [--seconds 10] [--cores N] [--dir DIR]

Starts a node, has the tenant `quiet` append 100 changes a second (open loop, latency from when each was due), and the tenant `noisy` append nothing, its quota, or
that many times its quota, in turn, ROUNDS times; then the last once without a quota. Prints p50 and p99 of `quiet` of each, and medians over rounds.
"""
import argparse, asyncio, json, os, re, shutil, statistics, subprocess, sys, tempfile, time
from multiprocessing import Process, Queue

BODY = json.dumps({"data": "x" * 200}).encode()

def request(method, path, body=b""):
    return (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body

async def answer(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
    if length:
        await reader.readexactly(length)
    return int(head[9:12])

async def worker(port, path, due, out, end):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = request("POST", path, BODY)
    while True:
        at = next(due)
        if at >= end:
            break
        wait = at - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        writer.write(data)
        status = await answer(reader)
        out.append((time.monotonic() - at, status))
    writer.close()

async def load(port, tenant, rate, seconds, connections):
    start = time.monotonic() + 0.05
    def moments():
        n = 0
        while True:
            yield start + n / rate
            n += 1
    due, out = moments(), []
    await asyncio.gather(*[worker(port, f"/tenants/{tenant}/changes", due, out, start + seconds) for _ in range(connections)])
    return out

def noisy(port, rate, seconds, connections, queue):
    out = asyncio.run(load(port, "noisy", rate, seconds, connections))
    queue.put((sum(s == 201 for _, s in out), sum(s == 429 for _, s in out), sum(s not in (201, 429) for _, s in out)))

def once(port, method, path, body):
    async def run():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(method, path, json.dumps(body).encode()))
        status = await answer(reader)
        assert status < 300, (path, status)
    asyncio.run(run())

def phase(port, rate, seconds, connections):
    queue, other = Queue(), None
    if rate:
        other = Process(target=noisy, args=(port, rate, seconds, connections, queue))
        other.start()
    out = asyncio.run(load(port, "quiet", 100, seconds, 8))
    counts = queue.get() if other else (0, 0, 0)
    if other:
        other.join()
    times = sorted(t * 1e3 for t, s in out)
    assert all(s == 201 for _, s in out), "quiet is never refused"
    at = lambda q: times[min(len(times) - 1, int(q * len(times)))]
    return at(.5), at(.99), counts

def main():
    a = argparse.ArgumentParser()
    a.add_argument("--program", required=True)
    a.add_argument("--quota", type=int, default=200)
    a.add_argument("--factor", type=int, default=10)
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--seconds", type=float, default=10)
    a.add_argument("--connections", type=int, default=32)
    a.add_argument("--cores")
    a.add_argument("--dir", default=None)
    a = a.parse_args()
    data = tempfile.mkdtemp(dir=a.dir)
    command = [a.program, "--data", data, "--listen", "127.0.0.1:0"] + (["--cores", a.cores] if a.cores else [])
    node = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        port = int(re.search(r":(\d+)\s*$", node.stdout.readline()).group(1))
        for name in ("quiet", "noisy"):
            once(port, "POST", "/tenants", {"name": name})
        once(port, "PUT", "/tenants/noisy/quota", {"writes_per_second": a.quota})
        phase(port, 0, 2, 0)
        found = {}
        kinds = [("nothing", 0), ("its quota", a.quota), (f"{a.factor} x its quota", a.quota * a.factor)]
        for n in range(a.rounds):
            for name, rate in kinds:
                p50, p99, (passed, refused, failed) = phase(port, rate, a.seconds, a.connections)
                found.setdefault(name, []).append((p50, p99))
                print(f"round {n} noisy asks {name:16} quiet p50 {p50:7.2f} ms p99 {p99:7.2f} ms; noisy: {passed} taken, {refused} refused, {failed} failed", flush=True)
        once(port, "PUT", "/tenants/noisy/quota", {})
        p50, p99, counts = phase(port, a.quota * a.factor, a.seconds, a.connections)
        print(f"without a quota: quiet p50 {p50:.2f} ms p99 {p99:.2f} ms; noisy {counts}")
        median = {name: [statistics.median(v) for v in zip(*all)] for name, all in found.items()}
        for name, (p50, p99) in median.items():
            print(f"median, noisy asks {name:16} quiet p50 {p50:.2f} ms p99 {p99:.2f} ms")
        names = [name for name, _ in kinds]
        for base in names[:2]:
            print(f"p99 at {names[2]} against {base}: {median[names[2]][1] / median[base][1]:.3f} (below 1.2 is wanted)")
    finally:
        node.terminate()
        node.wait(20)
        shutil.rmtree(data, ignore_errors=True)

main()
