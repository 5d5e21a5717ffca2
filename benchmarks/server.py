"""``toolslm serve`` beside an empty FastAPI route: requests a second and the slowest percent, under wrk with 64 connections.

    python benchmarks/server.py [seconds]

Needs the extra ``[serve]`` and wrk on the path (Debian's package wrk). Both routes run in processes of their own, one after the other, three
times; the ratio is the median of the three pairs. Beside the clock's, the servers' own processor time, which other programs on the
machine do not stretch. The load is a thousand different calls of the embedded world, sent in StableToolBench's form.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median

import psutil

from toolslm_helpers.data.names import identifier, standardize
from toolslm_helpers.data.queries import train_queries
from toolslm_helpers.data.world import build_world

CONNECTIONS, CALLS = 64, 1_000
EMPTY = """
import sys
import uvicorn
from fastapi import FastAPI

app = FastAPI()

@app.get("/health")
async def health():
    return {}

@app.post("/virtual")
async def empty():
    return {}

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
"""
SCRIPT = """
local bodies = {%s}
local i = 0
request = function()
  i = i %% #bodies + 1
  return wrk.format("POST", "/virtual", {["Content-Type"] = "application/json"}, bodies[i])
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %%d %%d %%.3f %%d\\n", summary.requests, summary.duration, latency:percentile(99.0) / 1000,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def bodies() -> list[str]:
    """Calls that training queries really need, one JSON body each."""
    found, world = [], build_world(0)
    for query in train_queries(world, 3 * CALLS):
        for call in (call for step in query.plan for call in step.calls[:1]):
            arguments = {identifier(name): value for name, value in call.arguments.items()}
            found.append(
                {
                    "category": world.tools_by_name[call.tool_name].category,
                    "tool_name": standardize(call.tool_name),
                    "api_name": identifier(call.api_name),
                    "tool_input": json.dumps(arguments),
                    "strip": "truncate",
                    "toolbench_key": "",
                }
            )
    return [json.dumps(body) for body in found[:CALLS]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measure(command: list[str], port: int, script: Path, seconds: int) -> tuple[float, float, int, float]:
    """(requests a second, 99th percentile in ms, errors, microseconds of processor time a request) of the server ``command`` starts."""
    server = subprocess.Popen(command)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).read()
                break
            except OSError:
                time.sleep(0.1)
        load = ["wrk", "-t1", f"-c{CONNECTIONS}", "-s", str(script), f"http://127.0.0.1:{port}"]
        subprocess.run([*load, "-d2s"], capture_output=True, check=True)  # warm: every call was answered once
        before = sum(psutil.Process(server.pid).cpu_times()[:2])
        out = subprocess.run([*load, f"-d{seconds}s"], capture_output=True, check=True, text=True).stdout
        busy = sum(psutil.Process(server.pid).cpu_times()[:2]) - before
    finally:
        server.terminate()
        server.wait()
    requests, microseconds, p99, errors = re.search(r"RESULT (\d+) (\d+) ([\d.]+) (\d+)", out).groups()
    return int(requests) / int(microseconds) * 1e6, float(p99), int(errors), busy / max(int(requests), 1) * 1e6


def main() -> int:
    if shutil.which("wrk") is None:
        print("wrk is not on the path; on Debian and Ubuntu it is the package wrk.")
        return 2
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "load.lua"
        script.write_text(SCRIPT % ",".join(f"[==[{body}]==]" for body in bodies()), encoding="utf-8")
        results: dict[str, list[tuple[float, float, int, float]]] = {"an empty route": [], "toolslm serve": []}
        for _ in range(3):
            for name in results:
                port = free_port()
                serve = [sys.executable, "-m", "toolslm_helpers.cli", "serve", "--port", str(port)]
                command = serve if name == "toolslm serve" else [sys.executable, "-c", EMPTY, str(port)]
                results[name].append(measure(command, port, script, seconds))
    for name, runs in results.items():
        for rate, p99, errors, busy in runs:
            print(
                f"{name:15} {rate:8.0f} requests a second, 99% within {p99:6.1f} ms, {busy:5.0f} us of processor time, {errors} errors"
            )
    pairs = list(zip(*results.values(), strict=True))
    by_clock = median(ours[0] / empty[0] for empty, ours in pairs)
    by_processor = median(empty[3] / ours[3] for empty, ours in pairs)
    print(
        f"toolslm serve reaches {by_clock:.0%} of an empty route's requests a second ({by_processor:.0%} by processor time), "
        f"{CONNECTIONS} connections"
    )
    return 0 if not any(run[2] for runs in results.values() for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
