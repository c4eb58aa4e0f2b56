"""A terminal for what the user should read."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep out messages about the libraries' own insides, and advertisements; nothing broader.

    A warning of this package is a line of the command's, without the place it comes from.
    """

    def no_tip(record: logging.LogRecord) -> bool:
        return "Tip: For seamless cloud" not in record.getMessage()

    def plain(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        if Path(filename).is_relative_to(PACKAGE):
            return f"linreg: warning: {message}\n"
        return before(message, category, filename, lineno, line)

    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    logger.addFilter(no_tip)
    before, warnings.formatwarning = warnings.formatwarning, plain
    with warnings.catch_warnings():
        for message in (
            ".*isinstance\\(treespec, LeafSpec\\).*",
            "LightningCLI's args parameter is intended to run from within Python.*",
            "The dirpath has changed from .*",  # a resumed run has a folder of its own
        ):
            warnings.filterwarnings("ignore", message)
        try:
            yield
        finally:
            logger.removeFilter(no_tip)
            warnings.formatwarning = before
