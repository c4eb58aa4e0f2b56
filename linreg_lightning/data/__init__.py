"""Where rows come from: one LightningDataModule a file.

One word for rows at each step: a *record batch* is pyarrow's, as a file gives it; a *chunk* is a
record batch with its place in the table (`TableDataset`); a *block* has those rows of a chunk that
a split chooses (`RowBlock`, then tensors); a *batch* is what the model gets at a time. Two
older names differ: the option `shuffle: blocks` reorders whole batches, and `chunks` of a loader
yields several batches at a time.
"""

from linreg_lightning.data.base import (
    RegressionDataModule as RegressionDataModule,
    SupervisedDataModule as SupervisedDataModule,
)
from linreg_lightning.data.loader import BatchLoader as BatchLoader
from linreg_lightning.data.synthetic import SyntheticData as SyntheticData
from linreg_lightning.data.tabular import TabularData as TabularData
from linreg_lightning.data.tensors import TensorData as TensorData, random_split as random_split
