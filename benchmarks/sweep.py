"""How opt-mini's shape and rates were chosen: short runs of pre-training, one thing changed at a time, measured on fresh texts.

    python benchmarks/sweep.py [--seeds 0 1] [--steps 200] [--documents 8] [--only width depth] [--output build/sweep]

Every run starts from its own random weights, goes through the first stage of ``training.stages`` with batches that suit two cores, and
answers the same fresh texts (``training.skills``). After each run docs/results/sweep.json is written, and its table between the markers
in docs/numbers.md (tests/test_readme.py holds the two together). A run that the record holds is not made again, so a stopped sweep goes
on, on another machine too; a run that was stopped half-way begins again. What a run costs is its processor time, so that another program
beside it does not make it look dear.
"""

import argparse
import shutil
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from toolslm_helpers.evaluation.recorded import results_folder
from toolslm_helpers.files import atomic_write_json, atomic_write_text, read_json, repository_root
from toolslm_helpers.model.checkpoints import OPT_MINI, load_model, new_model, save_model
from toolslm_helpers.results import provenance, replace_block
from toolslm_helpers.text.tokenizer import load_small_tokenizer, train_small_tokenizer
from toolslm_helpers.training.skills import measure_skills
from toolslm_helpers.training.stages import STAGES, run_stage, tokenizer_texts

# What is changed -> {its value: (changes of opt-mini's configuration, factor of Muon's rate, factor of the steps)}
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
STEPS, DOCUMENTS = 200, 8  # of the record: what two cores do in minutes
AS_SHIPPED = ("as shipped", "", ({}, 1.0, 1.0))


def start_of(folder: Path, seed: int, changes: dict) -> Path:
    """A checkpoint of random weights with these changes, and the tokenizer of its vocabulary."""
    size = changes.get("vocab_size", OPT_MINI["vocab_size"])
    shipped = size == OPT_MINI["vocab_size"]
    tokenizer = load_small_tokenizer() if shipped else train_small_tokenizer(tokenizer_texts(), vocabulary_size=size)
    save_model(new_model(seed, **changes), folder)
    tokenizer.save_pretrained(folder)
    return folder


def run(folder: Path, what: str, value: str, variant: tuple, seed: int, steps: int, documents: int) -> dict:
    """One run: what it cost and what the model can do afterwards."""
    changes, factor, longer = variant
    folder = folder / f"{what} {value} {seed} {steps} {documents}".replace(" ", "_").replace("/", "-")
    shutil.rmtree(folder, ignore_errors=True)
    start = start_of(folder / "start", seed, changes)
    stage = replace(STAGES["base"], matrix_rate=STAGES["base"].matrix_rate * factor)
    began = time.process_time()
    made = run_stage(stage, folder / "base", seed, round(steps * longer), start, documents, on_step=report(f"{what} {value}"))
    processor = time.process_time() - began
    load_model(start)[1].save_pretrained(folder / "base")
    model, tokenizer = load_model(folder / "base")
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    skills = measure_skills(model, tokenizer, chat=False)
    return {
        "parameters": sum(p.numel() for p in model.parameters()), "tokens": made["tokens"], "processor_seconds": round(processor),
        "final_loss": made["curve"][-1][1],
        "skills": {name: {"answers": s.answers, "right": s.right, "nats": round(s.nats, 3)} for name, s in skills.items()},
    }  # fmt: skip


def identity(what: str, value: str, seed: int, steps: int, documents: int) -> dict:
    """What makes a run the same run; ``steps`` are those of a run in which they are not what is changed."""
    return {"what": what, "value": value, "seed": seed, "steps": steps, "documents": documents}


def table(record: dict) -> str:
    """The record in Markdown: a row a variant, means over its seeds; nats of a whole answer, and the share of answers given whole."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for found in record["runs"]:
        groups.setdefault((found["what"], found["value"]), []).append(found)
    lines = [
        "| what | value | parameters | million tokens | processor minutes | loss | nats an answer | (seed by seed) | answers whole |"
    ]
    lines.append("|---" * 9 + "|")
    for (what, value), runs in groups.items():
        skills = [[skill for skill in run["skills"].values()] for run in runs]
        nats = [statistics.mean(skill["nats"] for skill in some) for some in skills]
        whole = statistics.mean(skill["right"] / skill["answers"] for some in skills for skill in some)
        lines.append(
            f"| {what} | {value} | {runs[0]['parameters']:,} | {statistics.mean(r['tokens'] for r in runs) / 1e6:.1f} | "
            f"{statistics.mean(r['processor_seconds'] for r in runs) / 60:.1f} | {statistics.mean(r['final_loss'] for r in runs):.3f} | "
            f"{statistics.mean(nats):.2f} | {', '.join(f'{x:.2f}' for x in nats)} | {whole:.1%} |"
        )
    first, commits = record["runs"][0], sorted({run["commit"] for run in record["runs"]})
    made = f"Pre-training from random weights, {first['steps']} steps of {first['documents']} documents where nothing else is said; seeds "
    made += f"{', '.join(map(str, sorted({run['seed'] for run in record['runs']})))}; commit {', '.join(f'`{one}`' for one in commits)}, "
    made += f"{first['device']}, torch {first['versions']['torch']}."
    return "\n".join([BEGIN, "", *lines, "", made, "", END])


def report(label: str):
    def on_step(step: int, total: int, loss: float) -> None:
        if step % 100 == 0 or step == total:
            print(f"{label}: step {step} of {total}, loss {loss:.3f}", file=sys.stderr, flush=True)

    return on_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="a step")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--output", type=Path, default=repository_root() / "build" / "sweep")
    asked = parser.parse_args()
    usual = (asked.steps, asked.documents) == (STEPS, DOCUMENTS)
    source = provenance()  # before the record changes: files that it writes are not what it was made from
    file = (results_folder() if usual else asked.output) / "sweep.json"
    runs = read_json(file)["runs"] if file.is_file() else []
    planned = [AS_SHIPPED] + [(what, value, variant) for what in asked.only for value, variant in VARIANTS[what].items()]
    order = [(what, value) for what, value, _ in [AS_SHIPPED] + [(w, v, None) for w in VARIANTS for v in VARIANTS[w]]]
    for seed in asked.seeds:
        for what, value, variant in planned:
            wanted = identity(what, value, seed, asked.steps, asked.documents)
            if any(wanted.items() <= found.items() for found in runs):
                continue
            found = run(asked.output, what, value, variant, seed, asked.steps, asked.documents)
            runs.append(wanted | source | found)
            runs.sort(key=lambda found: (order.index((found["what"], found["value"])), found["seed"]))
            atomic_write_json(file, {"runs": runs})
            if usual:
                page = repository_root() / "docs" / "numbers.md"
                atomic_write_text(page, replace_block(page.read_text(encoding="utf-8"), table({"runs": runs})))
    print(table({"runs": runs}))


if __name__ == "__main__":
    main()
