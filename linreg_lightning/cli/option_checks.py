"""Refuses options that the parser accepts and that cannot work."""

from __future__ import annotations

import re
from inspect import signature
from pkgutil import resolve_name
from typing import Any

from linreg_lightning.errors import InputError


def check_options(options: Any) -> None:
    """Refuse a seed, a strategy, numbers and nulls that cannot work."""
    seed, strategy = options.seed_everything, str(options.trainer.strategy)
    if not isinstance(seed, bool) and not 0 <= seed < 2**32:
        raise InputError(f"--seed_everything: {seed} was given; type 0 to {2**32 - 1}")
    if any(method in strategy for method in ("spawn", "fork", "notebook")):
        raise InputError(
            f"--trainer.strategy: {strategy} was given, whose processes do not return what they "
            "have fitted; type ddp"
        )
    if (batches := options.trainer.accumulate_grad_batches) < 1:
        raise InputError(f"--trainer.accumulate_grad_batches: {batches} was given; type 1 or more")
    for key in ("model", "data"):
        parameters = signature(resolve_name(options[key].class_path)).parameters
        for name, value in options[key].get("init_args", {}).items():
            annotation = str(parameters[name].annotation) if name in parameters else "Any"
            if value is None and not re.search("None|Optional|Any|_empty", annotation):
                raise InputError(f"--{key}.{name}: null was given; leave it out, or type a value")
