"""The process of the `linreg` command, which `python -m linreg_lightning` starts too."""

import atexit
import contextlib
import os
import sys
import threading
from typing import NoReturn

from linreg_lightning.cli import main


def run() -> NoReturn:
    """Run the command line of this process and end the process.

    Python's own shutdown visits every object, which takes a second after the imports of torch and
    Lightning. It may also abort if a thread of pyarrow or gloo still runs.
    """
    status = 0
    try:
        main()
    except SystemExit as stop:
        if not isinstance(stop.code, int | None):
            raise
        status = stop.code or 0
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads of the user's
    atexit._run_exitfuncs()  # both as Python's shutdown does, which has no public names for them
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with contextlib.suppress(OSError, ValueError):  # `main` has said that it cannot be written
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
