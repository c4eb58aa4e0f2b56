"""A resumed fit: what it may change, and where its schedules and early stopping stand."""

from __future__ import annotations

import warnings
from typing import Any, final

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from linreg_lightning.cli.checkpoint_info import CheckpointInfo
from linreg_lightning.cli.terminal import say
from linreg_lightning.errors import InputError

CHANGE_HELP = (
    "When a fit resumes, let options replace those of the checkpoint, such as --model.lr 0.01."
)
Changes = dict[str, tuple[Any, Any]]
"""The options that differ from the checkpoint's: name, stored value, given value."""
# What a ReduceLROnPlateau has seen of its metric; the rest of its state are its settings.
_SEEN = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch", "_last_lr")
# What schedules add to the settings of an optimizer.
_ADDED = {"initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum"}
# Arguments that say after how many steps a schedule ends.
_LENGTHS = ("total_steps", "T_max", "total_iters")


def check_weights(model: LightningModule, checkpoint: CheckpointInfo, changes: Changes) -> None:
    """Refuse changes that need weights of another shape than the checkpoint has."""
    stored = checkpoint.content["state_dict"]
    for name, value in model.state_dict().items():
        shape = tuple(getattr(stored.get(name, value), "shape", ()))
        if shape != tuple(getattr(value, "shape", ())):
            options = [option for option in changes if option.startswith("model.")]
            given = ", ".join(f"--{option} {changes[option][1]}" for option in options)
            raise InputError(
                f"--change: {given or '--model'} was given, but {checkpoint.path} has weights of "
                f"another shape ({name} is {shape}, not {tuple(value.shape)}); leave it out, or "
                "start anew without --ckpt_path"
            )


def check_early_stopping(trainer: Trainer, checkpoint: CheckpointInfo, change: bool) -> None:
    """Refuse another patience than the checkpoint's, or keep the given one if `change`.

    The state in a checkpoint has the patience, which would override the given one silently.
    """
    states = checkpoint.content.get("callbacks")
    for callback in trainer.early_stopping_callbacks:
        state = states.get(callback.state_key) if isinstance(states, dict) else None
        if not isinstance(state, dict):
            continue
        name, given, stored = type(callback).__name__, callback.patience, state.get("patience")
        if given != stored and not change:
            raise InputError(
                f"--trainer.callbacks: {name} has patience {given}, but {checkpoint.path} was made "
                f"with {stored}; type --trainer.callbacks.patience {stored}, or type --change to "
                f"go on with {given}"
            )
        state["patience"] = given
        waited = state.get("wait_count")
        if isinstance(waited, int) and waited >= given:
            rank_zero_only(say)(
                f"{name} had stopped this run, after {waited} checks of {callback.monitor} without "
                "improvement; it stops the run again at the next one; to go on for longer, type "
                f"--trainer.callbacks.patience with more than {waited}, and --change"
            )


@final
class ResumedFit(Callback):
    """Puts changed settings in the place of the checkpoint's, and says where a schedule has ended.

    The optimizer goes on with the settings of this run and with its state (momentum, averages of
    gradients) from the checkpoint; one of another class starts without a state. A schedule goes on
    at its position, as though it had had its settings from the start; one of another class starts
    anew. ReduceLROnPlateau, whose position depends on a metric, keeps what it has seen of it; the
    learning rate that it has reached stays unless `lr` is among the changes.

    Args:
        checkpoint: where the fit resumes; None for a new fit.
        changes: the options that differ from the checkpoint's; none leaves its state as it is.
    """

    def __init__(self, checkpoint: CheckpointInfo | None, changes: Changes) -> None:
        self._changes = changes
        self._optimizers: list[Any] = []
        if checkpoint is not None and changes:
            # The Trainer will restore these lists, so a change to them is a change to the run.
            self._optimizers = checkpoint.content["optimizer_states"]
            self._schedules = checkpoint.content.setdefault("lr_schedulers", [])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Change the state to restore; the optimizers are made already."""
        if not self._changes:
            return
        if len(self._optimizers) != len(trainer.optimizers):
            raise InputError(
                f"--change: the model now has {len(trainer.optimizers)} optimizers, and the "
                f"checkpoint has {len(self._optimizers)}; start anew without --ckpt_path"
            )
        reached = [[g.get("lr") for g in state["param_groups"]] for state in self._optimizers]
        schedules = [config.scheduler for config in trainer.lr_scheduler_configs]
        plateaus = [
            schedule
            for schedule, stored in zip(schedules, self._schedules, strict=False)
            if _goes_on(schedule, stored) and isinstance(schedule, ReduceLROnPlateau)
        ]
        kept = [
            self._change_optimizer(optimizer, state)
            for optimizer, state in zip(trainer.optimizers, self._optimizers, strict=True)
        ]
        names = {option.rpartition(".")[2] for option in self._changes}
        for index, optimizer in enumerate(trainer.optimizers):
            is_reduced = any(schedule.optimizer is optimizer for schedule in plateaus)
            if is_reduced and names.isdisjoint({"lr", "optimizer"}):
                for group, lr in zip(
                    self._optimizers[index]["param_groups"], reached[index], strict=True
                ):
                    group["lr"] = lr
        self._schedules[:] = [schedule.state_dict() for schedule in schedules]
        values = ", ".join(f"--{k} {_text(*pair)}" for k, pair in self._changes.items())
        rates = [
            f"{float(g['lr']):.6g}"
            for s in self._optimizers
            for g in s["param_groups"]
            if "lr" in g
        ]
        state = "" if all(kept) else "; the optimizer starts without a state, as its class differs"
        rank_zero_only(say)(f"changed: {values}; learning rate now {', '.join(rates)}{state}")

    def _change_optimizer(self, optimizer: Optimizer, stored: dict[str, Any]) -> bool:
        """Take the settings of an optimizer; return whether the state is that of its class."""
        new, old = optimizer.state_dict()["param_groups"], stored["param_groups"]
        if [len(group["params"]) for group in new] != [len(group["params"]) for group in old]:
            raise InputError(
                "--change: the optimizer now has other groups of parameters than the checkpoint; "
                "start anew without --ckpt_path"
            )
        is_same = set(new[0]) ^ set(old[0]) <= _ADDED  # a state does not name its class
        stored["param_groups"] = new
        if not is_same:
            stored["state"] = {}
        return is_same

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a schedule that ends before the run; say which one has ended already."""
        for config in trainer.lr_scheduler_configs:
            schedule: Any = config.scheduler
            name = type(schedule).__name__
            length = next((v for k in _LENGTHS if (v := getattr(schedule, k, None))), None)
            if not isinstance(length, int):
                continue
            if hasattr(schedule, "total_steps"):
                epochs = trainer.max_epochs if config.interval == "epoch" else None
                if epochs is not None and epochs // config.frequency > length:
                    raise InputError(schedule_end(length))
            elif schedule.last_epoch >= length:
                lr = ", ".join(f"{float(rate):.6g}" for rate in schedule.get_last_lr())
                goes = "rises and falls again" if hasattr(schedule, "T_max") else "stays there"
                rank_zero_only(say)(
                    f"{name} has come to its end, after {length} of {schedule.last_epoch} steps; "
                    f"the learning rate is {lr} and {goes}; to replace the schedule, type --change "
                    "and its options, or --lr_scheduler null"
                )


def _goes_on(schedule: Any, stored: dict[str, Any]) -> bool:
    """Move a new schedule to the position of the checkpoint's, if this is of the same class."""
    if set(schedule.state_dict()) != set(stored):  # a state does not name its class
        return False
    if isinstance(schedule, ReduceLROnPlateau):
        schedule.load_state_dict({**schedule.state_dict(), **{key: stored[key] for key in _SEEN}})
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch expects a step of the optimizer before each
        for _ in range(int(stored.get("last_epoch", 0))):
            schedule.step()
    return True


def schedule_end(length: int) -> str:
    """Return the message for a schedule that is shorter than the fit."""
    return (
        f"--lr_scheduler: the schedule OneCycleLR ends after {length} steps, before the fit; raise "
        "--lr_scheduler.total_steps (or the model's argument for it), with --change if the fit "
        "resumes, or lower --trainer.max_epochs"
    )


def _text(old: Any, new: Any) -> str:
    """Return what differs between two values; of classes their names or differing arguments."""
    if _is_class(old) and _is_class(new) and old["class_path"] == new["class_path"]:
        old, new = old.get("init_args", {}), new.get("init_args", {})
        return ", ".join(f"{k} {old.get(k)} -> {v}" for k, v in new.items() if v != old.get(k))
    names = [v["class_path"].rpartition(".")[2] if _is_class(v) else v for v in (old, new)]
    return " -> ".join("null" if name is None else str(name) for name in names)


def _is_class(value: Any) -> bool:
    return isinstance(value, dict) and "class_path" in value
