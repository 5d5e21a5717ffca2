"""Counts what ToolLLM's first judge, a rule about words, passes of the recorded ChatGPT answers, for six wordings of the rule.

    TOOLBENCH_DIR=<folder> python benchmarks/rule_judge.py [--output FOLDER]

Reads results_gpt-3.5-turbo_CoT/<set>.json (ToolBench: toolbench/tooleval/results/default_evalset/gpt-3.5-turbo_CoT, Apache-2.0) and writes
docs/results/rule_judge.json, which lesson 11 shows to readers who lack the files. Seconds; no model.
"""

import argparse
import os
from collections import Counter
from pathlib import Path

from toolslm_helpers.evaluation.answers import read_answers
from toolslm_helpers.evaluation.recorded import results_folder, weights_hash
from toolslm_helpers.evaluation.rules import passed_by_wording
from toolslm_helpers.files import WorkbookError, atomic_write_json
from toolslm_helpers.results import provenance

FOLDER = "results_gpt-3.5-turbo_CoT"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=results_folder())
    output = parser.parse_args().output
    if "TOOLBENCH_DIR" not in os.environ:
        raise WorkbookError(
            f"TOOLBENCH_DIR is not set. Expected the folder that holds {FOLDER}/ with ToolBench's converted answers."
        )
    folder = Path(os.environ["TOOLBENCH_DIR"]) / FOLDER
    answers = read_answers(folder)
    counts = {
        "commit": provenance()["commit"],
        "source": "ToolBench's stored answers of ChatGPT with CoT, converted for ToolEval; the part of them that was at hand",
        "files": {path.name: weights_hash(path) for path in sorted(folder.glob("*.json"))},
        "answers": dict(Counter(answer.set_name for answer in answers)),
        "passed": passed_by_wording(answers),
    }
    print(f"{len(answers)} answers -> {atomic_write_json(output / 'rule_judge.json', counts)}")
    for wording, by_set in counts["passed"].items():
        print(f"{wording or 'no rule about words':45} {' '.join(f'{n:3}' for n in by_set.values())}   all {sum(by_set.values())}")


if __name__ == "__main__":
    main()
