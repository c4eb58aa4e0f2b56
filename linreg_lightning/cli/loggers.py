"""The message for a logger that cannot be made."""

from __future__ import annotations

import re
from pkgutil import resolve_name

from lightning.pytorch.loggers import Logger


def logger_error(error: BaseException) -> str:
    """Return one line for a parser's error about a logger; "" for an error about something else.

    >>> cause = ModuleNotFoundError("Requirement 'mlflow>=1.0.0' not met. HINT: Try running ...")
    >>> error = ValueError("Problem with given class_path 'lightning.pytorch.loggers.MLFlowLogger'")
    >>> error.__cause__ = cause
    >>> logger_error(error)
    "--trainer.logger: MLFlowLogger needs a package; type pip install 'mlflow>=1.0.0'"
    """
    chain = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    text = "\n".join(map(str, chain))
    found = re.search(r"(?:Problem with given class_path |\(class_path=)'([\w.]+)'", text)
    if found is None or not issubclass(resolve_name(found[1]), Logger):
        return ""
    name, reason = found[1].rpartition(".")[2], " ".join(str(chain[-1]).split())
    if isinstance(chain[-1], ImportError):
        package = re.search(r"Requirement '([^']+)'|No module named '([^']+)'", reason)
        requirement = (package[1] or package[2]) if package else name
        return f"--trainer.logger: {name} needs a package; type pip install '{requirement}'"
    return f"--trainer.logger: {name}: {reason[:300]}; --trainer.logger.help {name} lists options"
