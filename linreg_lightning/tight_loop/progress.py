"""What the Trainer counts of steps, most of which can wait."""

from __future__ import annotations

from typing import Any, final


@final
class GroupProgress:
    """The counters of a group of steps.

    A few are counted at once, by what takes the steps: batches in `current` and optimizer steps and
    zeroed gradients in `total`, which something within a step could read. All others are as far
    ahead of these at each step as they were before the first, and follow when they are needed.

    Args:
        trainer: before the first step; much of it is not declared by its class.
        fetcher: the Trainer's source of batches.
        behind: whether they are taken behind its back.
    """

    def __init__(self, trainer: Any, fetcher: Any, behind: bool) -> None:
        self._fetcher, self._behind = fetcher, behind
        loop = trainer.fit_loop.epoch_loop
        current, total = loop.batch_progress.current, loop.batch_progress.total
        pairs = [((current, name), (total, name)) for name in ("started", "processed", "completed")]
        if trainer.lightning_module.automatic_optimization:
            updates = loop.automatic_optimization.optim_progress.optimizer
            step, zeroed = updates.step, updates.zero_grad
            pairs += [
                ((current, "started"), (step.current, "ready")),
                ((current, "started"), (step.total, "ready")),
                ((step.total, "completed"), (step.current, "completed")),
            ]
            pairs += [
                ((zeroed.total, "completed"), (tracker, name))
                for tracker in (zeroed.current, zeroed.total)
                for name in ("ready", "started", "completed")
            ]
        if behind:
            pairs += [
                ((current, "ready"), (fetcher, "fetched")),
                ((current, "ready"), (fetcher.combined_loader._iterator, "_idx")),
            ]
        self._pairs = [(one, other, getattr(*other) - getattr(*one)) for one, other in pairs]

    def settle(self) -> None:
        """Count all that has been left out so far."""
        for one, other, ahead in self._pairs:
            setattr(*other, getattr(*one) + ahead)
        if self._behind:
            self._fetcher.done = self._fetcher.fetched >= self._fetcher.length
