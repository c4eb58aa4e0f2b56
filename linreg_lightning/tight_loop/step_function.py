"""One step: loss, gradient, update, and the hooks that are called at each step."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor

from linreg_lightning.tight_loop.lightning_internals import EpochState, unwrapped_step

StepFunction = Callable[[Any, int], dict[str, Any]]
"""Takes one step on a batch of an index; returns the outputs that hooks get."""


def automatic_step(trainer: Any, state: EpochState) -> StepFunction:
    """Return what takes a step as the Trainer's automatic optimisation does."""
    module, training_step = trainer.lightning_module, training_step_of(trainer)
    (optimizer,) = trainer.optimizers
    optimizer_step, clip = unwrapped_step(optimizer), trainer.gradient_clip_val
    counters = state.automatic.optim_progress.optimizer
    stepped, zeroed = counters.step, counters.zero_grad
    before_zero_grad = per_step_hooks(trainer, state, "on_before_zero_grad")
    before_backward = per_step_hooks(trainer, state, "on_before_backward")
    after_backward = per_step_hooks(trainer, state, "on_after_backward")
    before_optimizer_step = per_step_hooks(trainer, state, "on_before_optimizer_step")

    def take(batch: Any, index: int) -> dict[str, Any]:
        output: Any = None

        def closure() -> Tensor | None:
            nonlocal output
            disabled = not torch.is_grad_enabled()  # an optimizer may leave it to its closure
            if disabled:
                torch.set_grad_enabled(True)
            output = training_step(batch, index)
            if not isinstance(output, Tensor):
                output = state.automatic.output_result_cls.from_training_step_output(output)
            loss: Tensor | None = output if isinstance(output, Tensor) else output.closure_loss
            zeroed.increment_ready()
            for hook in before_zero_grad:
                hook(trainer, module, optimizer)
            zeroed.increment_started()
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None
            zeroed.increment_completed()
            if loss is not None:
                for hook in before_backward:
                    hook(trainer, module, loss)
                loss.backward()
                for hook in after_backward:
                    hook(trainer, module)
            if disabled:
                torch.set_grad_enabled(False)
            for hook in before_optimizer_step:
                hook(trainer, module, optimizer)
            if clip is not None:
                module.clip_gradients(optimizer, clip, trainer.gradient_clip_algorithm)
            return loss

        stepped.increment_ready()
        optimizer_step(closure=closure)
        stepped.increment_completed()
        if isinstance(output, Tensor):
            return {"loss": output.detach()}
        return {} if output.loss is None else dict(output.asdict())

    return take


def manual_step(trainer: Any, state: EpochState) -> StepFunction:
    """Return what takes a step of a module that steps its optimizer itself."""
    training_step, manual = training_step_of(trainer), state.manual

    def take(batch: Any, index: int) -> dict[str, Any]:
        manual.on_run_start()
        output = training_step(batch, index)
        manual.on_run_end()
        return dict(manual.output_result_cls.from_training_step_output(output).asdict())

    return take


def training_step_of(trainer: Any) -> Callable[[Any, int], Any]:
    """Return the module's training_step in the Trainer's precision, always with an index."""
    precision: Precision = trainer.precision_plugin
    step: Callable[..., Any] = trainer.lightning_module.training_step
    takes_index = is_param_in_hook_signature(step, "batch_idx", min_args=2)
    if trainer.strategy.model is not trainer.lightning_module:
        step = trainer.strategy.training_step  # DDP then takes the mean of the gradients
    if type(precision) is Precision and takes_index:
        return step

    def in_precision(batch: Any, index: int) -> Any:
        with precision.train_step_context():
            return step(batch, index) if takes_index else step(batch)

    return in_precision


def per_step_hooks(trainer: Any, state: EpochState, name: str) -> list[Callable[..., Any]]:
    """Return the callbacks' hooks of a name that are marked `per_step`."""
    hooks = [getattr(callback, name) for callback in trainer.callbacks]
    marked = [hook for hook in hooks if getattr(hook, "tight_loop", "") == "per_step"]
    return [partial(state.call, name, hook) for hook in marked]
