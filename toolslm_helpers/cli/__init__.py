"""``toolslm``: the workbook from a terminal. Every command imports what it needs when it runs, so that --help is quick."""

import errno
import sys

from toolslm_helpers.cli import lessons, making, playing  # noqa: F401  registers their commands, in the order of --help
from toolslm_helpers.cli.terminal import app, complain
from toolslm_helpers.files import WorkbookError


def main() -> None:
    """The console script. An error meant for the reader is one line on stderr and exit code 2, never a traceback."""
    try:
        app()
    except WorkbookError as error:
        complain(error)
        sys.exit(2)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        complain(f"{error.filename or 'The disk'}: no space left. Free some space, then run the same command again.")
        sys.exit(2)
