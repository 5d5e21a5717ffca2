"""A judge that answers over HTTP in OpenAI's chat protocol, late and not always: for trying the client, not for judging.

    python benchmarks/slow_judge.py [--delay 0.2] [--too-many 0.02] [--error 0.02] [--seed 0]     serves until stopped, prints its address

Its verdict is always "solved". A share of the requests gets 429, another 500, drawn from a seed.
"""

import argparse
import json
import random
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Plan = Callable[[int, dict[str, Any]], tuple[int, str | bytes | None]]
"""(number of the request, its body) -> (status, the reply's text); bytes are sent as they are, None is a reply that never comes."""


class JudgeServer(ThreadingHTTPServer):
    """Serves POST /v1/chat/completions on a free local port; ``answered`` holds the bodies of all requests that got a 200."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, plan: Plan, delay: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.plan, self.delay = plan, delay
        self.count, self.answered, self.lock, self.closing = 0, [], threading.Lock(), threading.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self) -> "JudgeServer":
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number, self.server.count = self.server.count, self.server.count + 1
        status, text = self.server.plan(number, body)
        time.sleep(self.server.delay if status == 200 else 0)
        if text is None:
            self.server.closing.wait()  # hangs: the client must give up
            return
        if status == 200:
            with self.server.lock:
                self.server.answered.append(body)
        if isinstance(text, bytes):
            content = text
        else:
            content = json.dumps(completion(text) if status == 200 else {"error": {"message": text}}).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # the client was killed meanwhile
            self.close_connection = True

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""


def completion(text: str) -> dict[str, Any]:
    """A chat completion that says ``text`` and used 100 tokens in, 10 out."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "slow", "choices": [choice], "usage": usage}


def solved(too_many: float = 0.0, error: float = 0.0, seed: int = 0) -> Plan:
    """Always "solved", but for shares of 429 and 500."""
    verdict = json.dumps({"reason": "it is", "label": "solved"})

    def plan(number: int, body: dict[str, Any]) -> tuple[int, str]:
        drawn = random.Random(f"{seed} {number}").random()
        if drawn < too_many:
            return 429, "too many requests"
        return (500, "out of order") if drawn < too_many + error else (200, verdict)

    return plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.2)
    parser.add_argument("--too-many", type=float, default=0.02)
    parser.add_argument("--error", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    server = JudgeServer(solved(chosen.too_many, chosen.error, chosen.seed), chosen.delay)
    print(server.base_url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
