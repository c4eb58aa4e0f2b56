"""Whether a checkpoint comes from a model of this class and these arguments."""

from __future__ import annotations

from typing import Any

from linreg_lightning.errors import InputError


def check_hyperparameters(model: Any, checkpoint: dict[str, Any]) -> None:
    """Refuse a checkpoint of another class, or of other arguments than the model's.

    The arguments in `model.revisable` may differ, and the numbers of columns, which data tell.
    """
    hyperparameters = checkpoint.get("hyper_parameters", {})
    class_path, own_class = hyperparameters.get("_class_path", "another model"), type(model)
    is_ours = checkpoint.keys() & {"class_names", "columns"}
    if not is_ours or class_path.rpartition(".")[2] != own_class.__name__:
        raise InputError(
            f"ckpt_path: a checkpoint of {class_path} was given to {own_class.__name__}; give one "
            "of the same class"
        )
    may_differ = {"in_features", "out_features", "_class_path", *model.revisable}
    for name, value in hyperparameters.items():
        given = model.hparams.get(name, value)
        if name not in may_differ and given != value:
            raise InputError(
                f"{name}: {given} was given to {own_class.__name__}, but the checkpoint was made "
                f"with {value}; give the same, or load the model from the checkpoint"
            )
