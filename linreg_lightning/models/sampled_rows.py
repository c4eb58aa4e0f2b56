"""Rows that a loader gives more than once: to several processes, or to a fit that resumes."""

from __future__ import annotations

from typing import Any

from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.protocols import StartsAnew


def drop_repeated_row(batch: Batch, batch_idx: int, loader: Any) -> Batch:
    """Return a batch without the row that a `DistributedSampler` has repeated.

    It gives each process as many rows as the others. If W processes cannot share the rows evenly,
    those of rank (rows mod W) and above get an extra row, their last, which another process has.
    An InputError says where it cannot be told which row that is.
    """
    sampler = _distributed_sampler(loader)
    if sampler is None or sampler.drop_last:
        return batch
    extra_from = len(sampler.dataset) % sampler.num_replicas  # type: ignore[arg-type]
    if extra_from == 0 or sampler.rank < extra_from:
        return batch
    batches = loader.batch_sampler
    drops_it = batches.drop_last and sampler.num_samples % batches.batch_size
    if batch_idx + 1 < len(loader) or (type(batches) is BatchSampler and drops_it):
        return batch
    rows = sampler.num_samples - (len(loader) - 1) * batches.batch_size
    if type(batches) is not BatchSampler or batch.rows != rows:
        raise InputError(
            f"devices: {sampler.num_replicas} processes cannot share {len(sampler.dataset)} rows "  # type: ignore[arg-type]
            "evenly, so DistributedSampler repeats some of them; give the Trainer devices=1, or "
            "the loader DistributedSampler(drop_last=True), which leaves some rows out"
        )
    return batch.map(lambda tensor: tensor[:-1])


def check_rows_are_shared(loader: Any) -> None:
    """Refuse a DataLoader that has given each process the same rows, with an InputError."""
    if isinstance(loader, DataLoader) and _distributed_sampler(loader) is None:
        raise InputError(
            "devices: the DataLoader has given all processes the same rows, which would count "
            "several times; give the Trainer devices=1, or each process rows of its own, by a "
            "DistributedSampler or an IterableDataset that asks torch.distributed.get_rank()"
        )


def check_place_is_kept(checkpoint: dict[str, Any]) -> None:
    """Refuse a checkpoint within a pass whose loader starts anew, with an InputError."""
    # Lightning keeps the places of loaders that have `state_dict` and `load_state_dict`.
    if not checkpoint["loops"]["fit_loop"]["state_dict"].get("combined_loader"):
        raise InputError(
            "ckpt_path: the checkpoint is from the middle of a pass, and its loader, without "
            "state_dict, cannot go on from there; fit anew without ckpt_path, and to resume "
            "later passes, give the rows by a data module of this package"
        )


def check_pass_goes_on(loader: Any) -> None:
    """Refuse rows other than those of the checkpoint's pass, with an InputError."""
    if isinstance(loader, StartsAnew) and loader.starts_anew:
        raise InputError(
            "ckpt_path: the checkpoint is from the middle of a pass over other rows; go on with "
            "the same rows, or fit anew without ckpt_path"
        )


def _distributed_sampler(loader: Any) -> DistributedSampler[Any] | None:
    if not isinstance(loader, DataLoader):
        return None
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    return sampler if isinstance(sampler, DistributedSampler) else None
