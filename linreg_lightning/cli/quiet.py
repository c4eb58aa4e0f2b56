"""A terminal for what the user should read."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep out messages about the libraries' own insides, and advertisements; nothing broader."""

    def no_tip(record: logging.LogRecord) -> bool:
        return "Tip: For seamless cloud" not in record.getMessage()

    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    logger.addFilter(no_tip)
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
