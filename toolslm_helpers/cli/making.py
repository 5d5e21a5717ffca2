"""The making of checkpoints: opt-mini's own stages, ToolBench's rows prepared, fine-tuning."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from toolslm_helpers.cli import terminal
from toolslm_helpers.files import WorkbookError

if TYPE_CHECKING:
    from toolslm_helpers.training.forecast import Forecast


@terminal.app.command()
def stages(
    names: Annotated[
        list[str] | None, typer.Argument(help="tokenizer, base, instruct. None means base and instruct, in this order.")
    ] = None,
    seed: terminal.SeedOption = 0,
    output: terminal.OutputOption = Path("build/models"),
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Fewer steps than opt-mini was made with.")] = None,
) -> None:
    """Make opt-mini's own checkpoints: pre-training, then instruction tuning. A stopped stage continues."""
    from toolslm_helpers.screen import counting
    from toolslm_helpers.training.stages import STAGES, make_tokenizer, run_stage

    for name in names or STAGES:
        if name == "tokenizer":
            print(f"Tokenizer: {make_tokenizer(output / name)}")
            continue
        before = STAGES[name].start if name in STAGES else None
        start = output / before if before and (output / before / "config.json").is_file() else None
        with counting(terminal.console, f"stage {name}", "loss") as on_step:
            run_stage(name, output / name, seed, steps=steps, start=start, on_step=on_step)
        print(f"Checkpoint: {output / name}")


@terminal.app.command()
def prepare(
    rows: Annotated[
        Path | None, typer.Argument(help="A file of training rows, as ToolBench released them. None: the one in TOOLBENCH_DIR.")
    ] = None,
    size: terminal.SizeOption = "full",
    seed: terminal.SeedOption = 0,
    output: terminal.OutputOption = Path("build/prepared"),
    tokenizer: Annotated[
        str | None,
        typer.Option("--tokenizer", help="A folder with gpt2-vocab.json and gpt2-merges.txt, or a checkpoint. None: the size's."),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Rows that begin alike become one example; a step of `sft` then takes fewer.")
    ] = False,
) -> None:
    """Turn training rows into training examples on disk: read, shorten, flatten, mask. A stopped run continues."""
    from toolslm_helpers.data.folder import find_files, toolbench_folder
    from toolslm_helpers.data.rows import TrajectoryStream
    from toolslm_helpers.files import DataError
    from toolslm_helpers.screen import counting
    from toolslm_helpers.sizes import get_size
    from toolslm_helpers.training import prepare as training
    from toolslm_helpers.training.shards import MANIFEST

    chosen = get_size(size)
    if rows is None:
        files = [file for file in find_files(toolbench_folder())["training rows"] if "train" in file.name]
        if not files:
            raise DataError(
                f"{toolbench_folder()}: no training rows there (toolllama_*train*.json). Name the file, or download it."
            )
        rows = files[0]
    plan = training.Plan.of(chosen, merge, seed)
    with counting(terminal.console, "rows") as on_progress:
        pieces = training.tokenizer_of(tokenizer or chosen.model)
        found = training.prepare(lambda start: TrajectoryStream(rows, start), pieces, output, plan, on_progress)
    print(
        f"{found.rows:,} rows: {found.rows_in_examples:,} in {found.examples:,} examples, {found.rows_set_aside:,} set aside. "
        f"{found.tokens:,} tokens, {found.supervised:,} of them supervised; {found.tokens_cut:,} cut.\n"
        f"Prepared: {output} (every row that was set aside, with its reason: {output / MANIFEST})"
    )


@terminal.app.command()
def sft(
    size: terminal.SizeOption = "tiny",
    seed: terminal.SeedOption = 0,
    output: terminal.OutputOption = Path("build/sft"),
    model: Annotated[str | None, typer.Option("--model", help="Where to start: a folder, or base or instruct.")] = None,
    prepared: Annotated[
        Path | None, typer.Option("--prepared", help="A folder of `toolslm prepare`. None: the size's own data.")
    ] = None,
    save_every: Annotated[int, typer.Option("--save-every", min=0, help="Steps between two checkpoints; 0: none.")] = 100,
    precision: Annotated[str | None, typer.Option("--precision", help="fp32, fp16 or bf16. None: the size's.")] = None,
    checkpointing: Annotated[
        bool | None, typer.Option("--checkpointing/--no-checkpointing", help="Compute activations again to save memory.")
    ] = None,
    group: Annotated[bool, typer.Option("--group/--no-group", help="Batches of rows of similar length.")] = True,
    unpadded: Annotated[bool, typer.Option("--unpadded", help="A batch's rows one behind the other, without padding.")] = False,
    fused: Annotated[bool | None, typer.Option("--fused/--no-fused", help="AdamW in one kernel. None: on a GPU.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it will cost, and stop.")] = False,
) -> None:
    """Fine-tune for tool calling, once through the trajectories, as lesson 08 does. A stopped run continues.

    On several GPUs: torchrun --nproc-per-node N -m toolslm_helpers.cli sft ...
    """
    from dataclasses import replace

    from toolslm_helpers.agent.gold import training_trajectories
    from toolslm_helpers.screen import counting
    from toolslm_helpers.sizes import get_size
    from toolslm_helpers.training.processes import process
    from toolslm_helpers.training.sft import train
    from toolslm_helpers.training.shards import Prepared
    from toolslm_helpers.training.speed import Speed

    chosen = get_size(size)
    if precision is not None:
        if precision not in ("fp32", "fp16", "bf16"):
            raise WorkbookError(f"--precision {precision!r}: expected fp32, fp16 or bf16.")
        chosen = replace(chosen, precision=precision)
    if checkpointing is not None:
        chosen = replace(chosen, gradient_checkpointing=checkpointing)
    data = training_trajectories(chosen) if prepared is None else Prepared(prepared)

    def say(forecast: "Forecast") -> None:
        print(forecast, flush=True)
        if dry_run:
            raise typer.Exit

    with counting(terminal.console if process()[0] == 0 else Console(quiet=True), "steps", "loss") as on_step:
        record = train(
            chosen, seed, output, data, start=model, on_step=on_step, on_forecast=say, save_every=save_every or None,
            speed=Speed(group, unpadded, fused),
        )  # fmt: skip
    if process()[0] == 0:
        print(f"Checkpoint: {output} ({record.examples} examples, {record.steps} steps, last loss {record.final_loss:.3f} nats)")
