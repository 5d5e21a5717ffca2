"""How long a slow judge takes: 1,100 queries x 4 votes over HTTP, 200 ms late, some 429 and 500, beside the ideal time.

    python benchmarks/judging.py [queries] [votes]

The ideal is (queries x votes) x delay / requests at once: nothing is late but the judge itself. Prints both and their ratio.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from toolslm_helpers.evaluation.answers import Answer
from toolslm_helpers.evaluation.llm_judge import OpenAIJudge

DELAY, AT_ONCE = 0.2, 16


def main() -> int:
    queries, votes = (int(sys.argv[k]) if len(sys.argv) > k else default for k, default in ((1, 1100), (2, 4)))
    answers = [Answer("G1_tool", str(i), f"query {i}", (), True, "give_answer", f"answer {i}", ()) for i in range(queries)]
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("slow_judge.py"), "--delay", str(DELAY)], stdout=subprocess.PIPE, text=True
    )
    try:
        address = server.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as folder:
            judge = OpenAIJudge("slow", Path(folder) / "replies.jsonl", base_url=address, api_key="none", at_once=AT_ONCE)
            began = time.perf_counter()
            ballots = judge.ballots(answers, votes)
            took = time.perf_counter() - began
            began = time.perf_counter()
            again = judge.ballots(answers, votes)
            reread = time.perf_counter() - began
    finally:
        server.terminate()
        server.wait()
    ideal = queries * votes * DELAY / AT_ONCE
    counted = sum(len(ballot.votes) for ballot in ballots)
    print(f"{counted} votes of {queries * votes}, {AT_ONCE} at once, each {1000 * DELAY:.0f} ms late, 2% of 429 and 2% of 500")
    print(f"took {took:.1f} s, ideal {ideal:.1f} s, ratio {took / ideal:.2f}; once more from the ledger {reread:.1f} s")
    return 0 if counted == queries * votes and again == ballots else 1


if __name__ == "__main__":
    sys.exit(main())
