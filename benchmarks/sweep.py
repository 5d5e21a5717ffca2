"""How opt-mini's shape and rates were chosen: short runs of both stages, one thing changed at a time, measured on fresh texts.

    python benchmarks/sweep.py [--seeds 0 1] [--base-steps 300] [--instruct-steps 300] [--only width depth] [--output build/sweep]

Every run starts from its own random weights, goes through both stages of ``training.stages`` and answers the same fresh texts
(``training.skills``). A run that is there already is not made again, so a stopped sweep goes on. Writes docs/results/sweep.json, and its
table between the markers in docs/numbers.md (tests/test_readme.py holds the two together).
"""

import argparse
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import torch

from toolslm_helpers.files import atomic_write_json, atomic_write_text, read_json, repository_root
from toolslm_helpers.model.checkpoints import OPT_MINI, load_model, new_model, save_model
from toolslm_helpers.results import provenance, replace_block
from toolslm_helpers.text.tokenizer import load_small_tokenizer, train_small_tokenizer
from toolslm_helpers.training.skills import measure_skills
from toolslm_helpers.training.stages import STAGES, run_stage, tokenizer_texts

# What is changed -> {its value: (changes of opt-mini's configuration, factor of Muon's rate, share of the steps)}
VARIANTS = {
    "width": {
        "128": ({"hidden_size": 128, "num_attention_heads": 4, "ffn_dim": 512, "word_embed_proj_dim": 64}, 1, 1),
        "192": ({"hidden_size": 192, "num_attention_heads": 6, "ffn_dim": 768, "word_embed_proj_dim": 96}, 1, 1),
    },
    "depth": {"3": ({"num_hidden_layers": 3}, 1, 1), "6": ({"num_hidden_layers": 6}, 1, 1)},
    "tokenizer": {"600": ({"vocab_size": 600}, 1, 1), "2000": ({"vocab_size": 2000}, 1, 1)},
    "learning rate": {"x 1/4": ({}, 1 / 4, 1), "x 2": ({}, 2, 1)},
    "steps": {"half": ({}, 1, 1 / 2), "double": ({}, 1, 2)},
    "norm": {"before": ({"do_layer_norm_before": True}, 1, 1)},
}
BEGIN, END = "<!-- sweep: written by benchmarks/sweep.py -->", "<!-- /sweep -->"
AS_SHIPPED = ("as shipped", "", ({}, 1.0, 1.0))


def start_of(folder: Path, seed: int, changes: dict) -> Path:
    """A checkpoint of random weights with these changes, and the tokenizer of its vocabulary."""
    if not (folder / "config.json").is_file():
        model = new_model(seed, **changes)
        size = changes.get("vocab_size", OPT_MINI["vocab_size"])
        shipped = size == OPT_MINI["vocab_size"]
        tokenizer = load_small_tokenizer() if shipped else train_small_tokenizer(tokenizer_texts(), vocabulary_size=size)
        save_model(model, folder)
        tokenizer.save_pretrained(folder)
    return folder


def run(folder: Path, what: str, value: str, variant: tuple, seed: int, steps: dict[str, int]) -> dict:
    """One run, or what an earlier one of the same kind found."""
    changes, factor, share = variant
    planned = {name: max(1, round(count * share)) for name, count in steps.items()}
    folder = folder / f"{what} {value} {seed}".replace(" ", "_").replace("/", "-")
    if (folder / "result.json").is_file() and (found := read_json(folder / "result.json"))["steps"] == planned:
        return found
    before, seconds, tokens = start_of(folder / "start", seed, changes), 0.0, 0
    for name in ("base", "instruct"):
        stage = replace(STAGES[name], matrix_rate=STAGES[name].matrix_rate * factor)
        record = run_stage(
            stage, folder / name, seed, steps=planned[name], start=before, on_step=report(f"{what} {value} {name}")
        )
        load_model(before)[1].save_pretrained(folder / name)
        before, seconds, tokens = folder / name, seconds + record["seconds"], tokens + record["tokens"]
    model, tokenizer = load_model(before)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    skills = measure_skills(model, tokenizer, chat=True)
    result = {
        "what": what, "value": value, "seed": seed, "parameters": sum(p.numel() for p in model.parameters()),
        "steps": planned, "tokens": tokens, "seconds": round(seconds), "final_loss": record["curve"][-1][1],
        "device": record["device"], "versions": record["versions"],
        "skills": {name: {"answers": s.answers, "right": s.right, "nats": round(s.nats, 3)} for name, s in skills.items()},
    }  # fmt: skip
    atomic_write_json(folder / "result.json", result)
    return result


def table(record: dict) -> str:
    """The record in Markdown: a row a variant, means over the seeds; of a skill the share of answers given whole."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for found in record["runs"]:
        groups.setdefault((found["what"], found["value"]), []).append(found)
    skills = list(record["runs"][0]["skills"])
    lines = [f"| what | value | parameters | million tokens | minutes | loss | {' | '.join(skills)} | nats an answer |"]
    lines.append("|---" * (len(skills) + 7) + "|")
    for (what, value), runs in groups.items():
        rates = [statistics.mean(r["skills"][k]["right"] / r["skills"][k]["answers"] for r in runs) for k in skills]
        nats = statistics.mean(sum(s["nats"] for s in r["skills"].values()) / len(skills) for r in runs)
        lines.append(
            f"| {what} | {value} | {runs[0]['parameters']:,} | {statistics.mean(r['tokens'] for r in runs) / 1e6:.1f} | "
            f"{statistics.mean(r['seconds'] for r in runs) / 60:.1f} | {statistics.mean(r['final_loss'] for r in runs):.3f} | "
            f"{' | '.join(f'{rate:.0%}' for rate in rates)} | {nats:.2f} |"
        )
    made = f"Seeds {', '.join(map(str, record['seeds']))}; steps {record['steps']['base']} and {record['steps']['instruct']} where nothing "
    made += f"else is said; commit `{record['commit']}`, {record['device']}, torch {record['versions']['torch']}."
    return "\n".join([BEGIN, "", *lines, "", made, "", END])


def report(label: str):
    def on_step(step: int, total: int, loss: float) -> None:
        if step % 100 == 0 or step == total:
            print(f"{label}: step {step} of {total}, loss {loss:.3f}", file=sys.stderr, flush=True)

    return on_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--base-steps", type=int, default=300)
    parser.add_argument("--instruct-steps", type=int, default=300)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--output", type=Path, default=repository_root() / "build" / "sweep")
    asked = parser.parse_args()
    steps = {"base": asked.base_steps, "instruct": asked.instruct_steps}
    planned = [AS_SHIPPED] + [(what, value, variant) for what in asked.only for value, variant in VARIANTS[what].items()]
    runs = []
    for seed in asked.seeds:
        for what, value, variant in planned:
            runs.append(run(asked.output, what, value, variant, seed, steps))
    record = provenance() | {
        "device": runs[0]["device"],
        "versions": runs[0]["versions"],
    }  # where the runs were made, not the table
    record |= {"seeds": asked.seeds, "steps": steps, "runs": runs}
    atomic_write_json(repository_root() / "docs" / "results" / "sweep.json", record)
    page = repository_root() / "docs" / "numbers.md"
    text = page.read_text(encoding="utf-8")
    atomic_write_text(page, replace_block(text, table(record)))
    print(table(record))


if __name__ == "__main__":
    main()
