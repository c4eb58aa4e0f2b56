"""What a model that reads its rows several times refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import DataLoader, RandomSampler

from linreg_lightning.algebra.robust_errors import ErrorOptions, RobustErrors
from linreg_lightning.errors import InputError
from linreg_lightning.protocols import KeptArguments

_MIDDLE = "the checkpoint is from the middle of a fit, after its first pass"


def check_keys(
    options: ErrorOptions,
    ridge: float,
    intercept: bool | None,
    clusters: Sequence[str],
    absorbed: Sequence[str],
) -> None:
    """Refuse columns of clusters or effects that do not go with the arguments of a model.

    Raises:
        InputError: clusters without errors cluster, or these without clusters; effects with a
            penalty or a constant.
    """
    kind = options.kind
    if kind == "cluster" and not clusters:
        raise InputError(
            "errors: cluster was given, and the data name no column of clusters; give the data a "
            "column's name as cluster, such as --data.cluster state"
        )
    if clusters and kind != "cluster":
        raise InputError(
            f"cluster: {' and '.join(map(repr, clusters))} was given, and errors is {kind}, which "
            "has no clusters; set errors to cluster, or leave cluster out"
        )
    if absorbed and ridge > 0:
        raise InputError(
            f"ridge: {ridge} was given, and the effects to absorb have no penalty; leave ridge or "
            "absorb out"
        )
    if absorbed and intercept:
        raise InputError(
            "intercept: true was given, and the effects to absorb contain a constant; leave "
            "intercept out"
        )


def check_order(trainer: Any) -> None:
    """Refuse rows that do not come in their order, with an InputError."""
    processes, loader, data = trainer.world_size, trainer.train_dataloader, trainer.datamodule
    reason = "errors: HAC takes the rows in their order, and"
    if processes > 1:
        raise InputError(f"{reason} {processes} processes divide them; give the Trainer devices=1")
    if isinstance(loader, DataLoader) and isinstance(loader.sampler, RandomSampler):
        raise InputError(f"{reason} the DataLoader shuffles them; give it shuffle=False")
    for name in ("val_fraction", "test_fraction"):
        if isinstance(data, KeptArguments) and data.hparams.get(name):
            raise InputError(f"{reason} {name} leaves some of them out at random; set {name} to 0")


def check_resumed(
    options: ErrorOptions, state: Mapping[str, Any], absorbs: bool, first_pass: bool, is_fit: bool
) -> None:
    """Refuse a checkpoint without the errors asked for, or without the rows that they need.

    Args:
        options: the errors of the model.
        state: what the checkpoint holds of the passes after the first one.
        absorbs: whether the checkpoint or the data absorb effects.
        first_pass: whether the checkpoint is from the middle of the first pass.
        is_fit: whether a Trainer fits.

    Raises:
        InputError: the checkpoint is from the middle of a later pass, and this is no fit, or it
            absorbs effects, or has other errors; rows are to be added where all need another pass.
    """
    if "pass" in state or (first_pass and absorbs):
        if not is_fit:
            remedy = "finish the fit first, or give another checkpoint"
            raise InputError(f"ckpt_path: {_MIDDLE}; {remedy}")
        if absorbs:
            reason = "which absorbs effects"
            raise InputError(f"ckpt_path: {_MIDDLE}, {reason}; fit anew without ckpt_path")
        written = ErrorOptions(**state["options"])
        if written != options:
            raise InputError(
                f"errors: {options.kind} was given, and {_MIDDLE}, with errors {written.kind}; "
                "give the same errors, lags and small_sample, or fit anew without ckpt_path"
            )
        return
    if first_pass:
        return
    if is_fit and absorbs:
        raise InputError(
            "ckpt_path: rows were given to add to the checkpoint, but effects to absorb need a "
            "pass over all rows; fit all rows anew without ckpt_path"
        )
    if options.kind == "classical":
        return
    stored = state.get("errors")
    same = stored is not None and RobustErrors.from_state_dict(stored).options == options
    if is_fit:
        raise InputError(
            f"errors: {options.kind} was given, and needs a pass over the earlier rows too, which "
            "the checkpoint does not hold; fit all rows anew without ckpt_path, or set errors to "
            "classical, whose sums take more rows exactly"
        )
    if not same:
        has = "classical" if stored is None else " ".join(_named(stored))
        raise InputError(
            f"errors: {' '.join(_named(vars(options)))} was given, but the checkpoint has {has}, "
            "and others need a pass over all rows; fit them anew, or leave errors out"
        )


def _named(options: Mapping[str, Any]) -> list[str]:
    """Return the kind of errors, and what sets it apart from the others of this kind."""
    lags = [] if options["lags"] is None else [f"with {options['lags']} lags"]
    return [options["kind"], *lags, f"as {options['small_sample']}"]
