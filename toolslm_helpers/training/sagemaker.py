"""Starts `toolslm sft` as a job on Amazon SageMaker: the SDK's HuggingFace estimator, and nothing that is not its own.

    pip install "toolslm-helpers[sagemaker]"
    python -m toolslm_helpers.training.sagemaker --role ROLE --image URI --prepared s3://bucket/prepared --keep s3://bucket/run

``--image`` is a Hugging Face training image for PyTorch of your region; requirements.txt is installed into it. Checkpoints go to ``--keep``
while the job runs, so that a spot instance that is taken away goes on elsewhere. ``--dry-run`` prints the arguments and needs no account.
"""

import argparse
import importlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolslm_helpers.files import WorkbookError, repository_root

ENTRY = "sagemaker_entry.py"
CHECKPOINTS, MODEL, CHANNEL = "/opt/ml/checkpoints", "/opt/ml/model", "/opt/ml/input/data/prepared"
# What the job needs of the repository; data_samples/ has the tokenizer and the small checkpoints.
SENT = ("toolslm_helpers", "data_samples", "requirements.txt", "pyproject.toml", "README.md")
# The job's own first file. Its arguments are the estimator's hyperparameters, which are those of `toolslm sft`.
ENTRY_TEXT = f'''"""Runs `toolslm sft` with the job's hyperparameters, then puts the weights where SageMaker takes the model from."""

import os
import shutil
import sys
from pathlib import Path

from toolslm_helpers import cli

sys.argv[:1] = ["toolslm", "sft"]
try:
    cli.main()
except SystemExit as end:
    if end.code:
        raise
if os.environ.get("RANK", "0") == "0":
    for file in Path(sys.argv[sys.argv.index("--output") + 1]).iterdir():
        if file.is_file():
            shutil.copy2(file, os.environ.get("SM_MODEL_DIR", "{MODEL}"))
'''


@dataclass(frozen=True)
class Job:
    """One run. Addresses are s3://...; ``hours`` are the most that are paid for."""

    role: str
    image: str
    prepared: str  # what `toolslm prepare` wrote, copied there
    keep: str  # where checkpoints and the model go
    instance: str = "ml.g4dn.xlarge"  # one T4 with 16 GB
    instances: int = 1
    hours: int = 24
    spot: bool = True
    size: str = "full"
    seed: int = 0
    save_every: int = 100

    def __post_init__(self) -> None:
        for name in ("prepared", "keep"):
            if not getattr(self, name).startswith("s3://"):
                raise WorkbookError(f"--{name} is {getattr(self, name)!r}; expected an address that begins with s3://.")
        if self.instances < 1 or self.hours < 1:
            raise WorkbookError(f"{self.instances} instances for {self.hours} hours: expected at least one of each.")


def estimator_arguments(job: Job, source: Path) -> dict[str, Any]:
    """What the HuggingFace estimator is made with. ``source`` is a folder as ``stage`` makes it."""
    most = job.hours * 3600
    return {
        "entry_point": ENTRY,
        "source_dir": str(source),
        "role": job.role,
        "image_uri": job.image,
        "py_version": "py311",  # asked for by the SDK; the image decides
        "instance_type": job.instance,
        "instance_count": job.instances,
        "distribution": {"torch_distributed": {"enabled": True}},  # torchrun: a process for each GPU, one too
        "volume_size": 50,  # GB: two checkpoints of 4 GB, the prepared rows, the hub's cache
        "max_run": most,
        "base_job_name": f"toolslm-{job.size}",
        "output_path": job.keep,
        "checkpoint_s3_uri": f"{job.keep.rstrip('/')}/checkpoints",
        "checkpoint_local_path": CHECKPOINTS,
        "hyperparameters": {
            "size": job.size,
            "seed": job.seed,
            "save-every": job.save_every,
            "prepared": CHANNEL,
            "output": CHECKPOINTS,
        },
    } | ({"use_spot_instances": True, "max_wait": 2 * most} if job.spot else {})


def channels(job: Job) -> dict[str, str]:
    """What ``fit`` is given: each name becomes a folder under /opt/ml/input/data."""
    return {"prepared": job.prepared}


def stage(folder: Path) -> Path:
    """Copies what a job needs into ``folder``: the SDK sends the whole folder that it is given."""
    for name in SENT:
        origin = repository_root() / name
        if origin.is_dir():
            shutil.copytree(origin, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(origin, folder / name)
    (folder / ENTRY).write_text(ENTRY_TEXT, encoding="utf-8")
    return folder


def launch(job: Job, wait: bool = False) -> None:
    """Starts the job. Raises WorkbookError where the SDK is missing; its own errors say what the account lacks."""
    try:
        estimators = importlib.import_module("sagemaker.huggingface")
    except ImportError as error:
        raise WorkbookError(
            f'the SageMaker SDK with its HuggingFace estimator is not installed ({error}). pip install "sagemaker<3"'
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        estimators.HuggingFace(**estimator_arguments(job, stage(Path(folder)))).fit(channels(job), wait=wait)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Start `toolslm sft` as a job on Amazon SageMaker.")
    for name, about in (
        ("role", "the role that the job runs as"),
        ("image", "a Hugging Face training image for PyTorch"),
        ("prepared", "s3:// address of a folder of `toolslm prepare`"),
        ("keep", "s3:// address for checkpoints and the model"),
    ):
        parser.add_argument(f"--{name}", required=True, help=about)
    for name, kind in (("instance", str), ("instances", int), ("hours", int), ("size", str), ("seed", int), ("save-every", int)):
        parser.add_argument(f"--{name}", type=kind, default=getattr(Job, name.replace("-", "_")))
    parser.add_argument("--on-demand", dest="spot", action="store_false", help="no spot instances: dearer, and never taken away")
    parser.add_argument("--wait", action="store_true", help="show the job's log until it ends")
    parser.add_argument("--dry-run", action="store_true", help="print the estimator's arguments, and start nothing")
    asked = vars(parser.parse_args(arguments))
    wait, dry_run = asked.pop("wait"), asked.pop("dry_run")
    try:
        job = Job(**asked)
        if dry_run:
            print(json.dumps({"estimator": estimator_arguments(job, Path("SOURCE")), "fit": channels(job)}, indent=1))
        else:
            launch(job, wait)
    except WorkbookError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
