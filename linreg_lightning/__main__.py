"""The process of the `linreg` command, which `python -m linreg_lightning` starts too."""

import atexit
import os
import sys
from typing import NoReturn

from linreg_lightning.cli import main


def run() -> NoReturn:
    """Run the command line of this process and end the process.

    Python's own shutdown visits every object, which takes a second after the imports of torch and
    Lightning. It also aborts if a thread of pyarrow or gloo still runs.
    """
    status = 0
    try:
        main()
    except SystemExit as stop:
        if not isinstance(stop.code, int | None):
            raise
        status = stop.code or 0
    atexit._run_exitfuncs()  # as the shutdown does; Python has no public name for it
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
