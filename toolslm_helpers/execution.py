"""One notebook through papermill, in a kernel of the running interpreter."""

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolslm_helpers.files import DataError, WorkbookError


class NotebookFailed(WorkbookError):
    """A lesson stopped with an error. The message names lesson, cell, error and the partial notebook."""


def execute(notebook: Path, target: Path, parameters: dict[str, Any], on_cell: Callable[[int, int], None]) -> None:
    """Runs one notebook in its own folder and writes ``target`` as it goes. ``on_cell`` hears (cell, of how many) as each begins.

    Raises NotebookFailed where a cell raises or the kernel dies, and DataError where the file is no notebook.
    """
    import nbformat
    import papermill
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from papermill.exceptions import PapermillExecutionError
    from traitlets import default

    class ThisInterpreter(AsyncKernelManager):
        """A kernel of the running interpreter, whatever the user has installed elsewhere under the name python3."""

        @default("kernel_spec_manager")
        def _only_the_native_kernel(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[])

    try:
        total = len(nbformat.read(notebook, as_version=4).cells)
    except nbformat.reader.NotJSONError as error:
        raise DataError(f"{notebook}: not a notebook (broken JSON). Restore it with git, or save it again in Jupyter.") from error
    position, source = 0, ""

    def started(cell: Any, cell_index: int) -> None:
        nonlocal position, source
        source = cell.source
        if "injected-parameters" not in cell.metadata.get("tags", []):  # papermill's own cell is not in the lesson's count
            position += 1
            on_cell(position, total)

    def failed(error: str, detail: str) -> NotebookFailed:
        first_line = next((line for line in source.splitlines() if line.strip()), "")
        return NotebookFailed(
            f"{notebook.stem} failed in cell {position} of {total}, which begins: {first_line.strip()}\n"
            f"  {error}\n{detail}  The notebook up to there: {target}"
        )

    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            notebook, target, parameters, kernel_name="python3", language="python",
            cwd=notebook.parent, progress_bar=False, on_cell_start=started, kernel_manager_class=ThisInterpreter,
            extra_arguments=["--log-level=CRITICAL"],  # what matters is in the notebook; the terminal is for progress
        )  # fmt: skip
    except PapermillExecutionError as error:
        lines = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback)).splitlines()[-8:-1]
        raise failed(f"{error.ename}: {error.evalue}", "".join(f"  | {line}\n" for line in lines)) from error
    except RuntimeError as error:  # nbclient's DeadKernelError and a kernel that did not start are RuntimeErrors
        raise failed(f"The kernel died ({error}). Usual cause: too little memory; `toolslm doctor` shows it.", "") from error


@contextmanager
def kernel_environment(offline: bool) -> Iterator[None]:
    """The variables that the kernels inherit; the caller's own come back afterwards."""
    wanted = {"TOKENIZERS_PARALLELISM": "false", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    if offline:  # smoke and tiny download nothing, and a mistake that tries to should be seen
        wanted |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
