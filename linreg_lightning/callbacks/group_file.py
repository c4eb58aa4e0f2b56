"""The result of a fit of groups as groups.csv."""

from pathlib import Path
from typing import Any, ClassVar, final

from lightning.pytorch import Callback, LightningModule

from linreg_lightning.atomic_file import atomic_path
from linreg_lightning.protocols import GroupTable
from linreg_lightning.tables.prediction_file import write_csv


@final
class GroupFile(Callback):
    """Writes `groups.csv` into the run's folder at the end of a fit of groups, whole or not at all.

    It has a row for each group and term. Its numbers read back to the same float64; NaN is empty.
    """

    file_label: ClassVar[str] = "groups"
    path: Path | None = None  # the file, once it is written

    def on_fit_end(self, trainer: Any, pl_module: LightningModule) -> None:
        folder = trainer.log_dir  # all processes ask, because the first one broadcasts its answer
        if folder is None or not trainer.is_global_zero or trainer.fast_dev_run:
            return
        table = pl_module.group_table() if isinstance(pl_module, GroupTable) else None
        if table is not None:
            path = Path(folder) / "groups.csv"
            with atomic_path(path) as unfinished:
                write_csv(unfinished, table)
            self.path = path
