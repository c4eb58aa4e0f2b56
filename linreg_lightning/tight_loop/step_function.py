"""One step: loss, gradient, update, and the hooks that are marked to be called at each."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import MethodType
from typing import Any

import torch
from lightning.pytorch.loops.optimization.automatic import ClosureResult
from lightning.pytorch.loops.optimization.manual import ManualResult
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor
from torch.optim import Optimizer

Step = Callable[[Any, int], Any]
"""What makes a loss, or whatever a model's training_step returns, of a batch and its index."""


def automatic_step(trainer: Any, training_step: Step) -> Callable[[Any, int], dict[str, Any]]:
    """What takes a step on a batch of an index as the Trainer does by itself, and returns outputs.

    It counts the two numbers that something within the step could read: `global_step`, and how
    often gradients were zeroed.
    """
    module = trainer.lightning_module
    updates = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer
    stepped, zeroed = updates.step.total, updates.zero_grad.total
    (optimizer,) = trainer.optimizers
    optimizer_step = bare_step_of(optimizer)
    clip = trainer.gradient_clip_val
    before_zero, before_backward, after_backward, before_step = (
        called(trainer, f"on_{name}")
        for name in (
            "before_zero_grad",
            "before_backward",
            "after_backward",
            "before_optimizer_step",
        )
    )

    def take(batch: Any, index: int) -> dict[str, Any]:
        output: Any = None

        def closure() -> Tensor | None:
            nonlocal output
            disabled = not torch.is_grad_enabled()  # an optimizer may leave it to its closure
            if disabled:
                torch.set_grad_enabled(True)
            output = training_step(batch, index)
            plain = isinstance(output, Tensor)
            if not plain:
                output = ClosureResult.from_training_step_output(output)
            loss: Tensor | None = output if plain else output.closure_loss
            for hook in before_zero:
                hook(trainer, module, optimizer)
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None
            zeroed.completed += 1
            if loss is not None:
                for hook in before_backward:
                    hook(trainer, module, loss)
                loss.backward()
                for hook in after_backward:
                    hook(trainer, module)
            if disabled:
                torch.set_grad_enabled(False)
            for hook in before_step:
                hook(trainer, module, optimizer)
            if clip is not None:
                module.clip_gradients(optimizer, clip, trainer.gradient_clip_algorithm)
            return loss

        optimizer_step(closure=closure)
        stepped.completed += 1
        if isinstance(output, Tensor):
            return {"loss": output.detach()}
        return {} if output.loss is None else dict(output.asdict())

    return take


def bare_step_of(optimizer: Optimizer) -> Callable[..., Any]:
    """`optimizer.step`, without what torch wraps around it for hooks and profilers there may be.

    Where there are none, that takes a fifth of a small step.
    """
    wrapper: Any = type(optimizer).step
    # What others wrap around that has its mark, too, but not its home.
    home = vars(import_module(Optimizer.__module__))
    hooked = getattr(wrapper, "hooked", False) and wrapper.__globals__ is home
    if hooked and not is_watched(optimizer) and "step" not in vars(optimizer):
        return MethodType(wrapper.__wrapped__, optimizer)
    return optimizer.step


def is_watched(optimizer: Optimizer) -> bool:
    """Whether hooks or a profiler see the steps of an optimizer, or may."""
    home: Any = import_module(Optimizer.__module__)
    try:
        hooks = (
            optimizer._optimizer_step_pre_hooks,
            optimizer._optimizer_step_post_hooks,
            home._global_optimizer_pre_hooks,
            home._global_optimizer_post_hooks,
        )
        return any(hooks) or torch.autograd.profiler._is_profiler_enabled
    except AttributeError:
        return True  # these are torch's own affair: without them a step is slower, no more


def manual_step(trainer: Any, training_step: Step) -> Callable[[Any, int], dict[str, Any]]:
    """What takes a step on a batch of an index where the module does so itself."""
    manual = trainer.fit_loop.epoch_loop.manual_optimization

    def take(batch: Any, index: int) -> dict[str, Any]:
        manual.on_run_start()
        output = training_step(batch, index)
        manual.on_run_end()
        return ManualResult.from_training_step_output(output).asdict()

    return take


def called(trainer: Any, name: str) -> list[Callable[..., None]]:
    """The callbacks' hooks that are marked to be called at each step; they log by its name."""
    state = vars(
        trainer.lightning_module
    )  # to set an attribute of a module takes ten times as long

    def within(hook: Callable[..., Any]) -> Callable[..., None]:
        def call(*args: Any) -> None:
            outer, state["_current_fx_name"] = state["_current_fx_name"], name
            hook(*args)
            state["_current_fx_name"] = outer

        return call

    hooks = [getattr(each, name) for each in trainer.callbacks]
    return [within(hook) for hook in hooks if getattr(hook, "tight_loop", "") == "calls"]


def training_step_of(trainer: Any) -> Step:
    """The module's training_step as a function of a batch and its index, in its precision."""
    precision: Precision = trainer.precision_plugin
    step: Callable[..., Any] = trainer.lightning_module.training_step
    takes_index = is_param_in_hook_signature(step, "batch_idx", min_args=2)
    if type(precision) is Precision and takes_index:
        return step

    def within(batch: Any, index: int) -> Any:
        with precision.train_step_context():
            return step(batch, index) if takes_index else step(batch)

    return within
