"""Whether data add levels to the columns of a fit."""

from __future__ import annotations

from typing import Any

from linreg_lightning.design_matrix.added_levels import is_extension
from linreg_lightning.design_matrix.frame_reader import FrameReader
from linreg_lightning.protocols import KeptArguments, NamedColumns


def adds_levels(data: Any, earlier: FrameReader | None) -> bool:
    """Whether data were told to add levels to the design of an earlier fit, and have done so."""
    if earlier is None or not (isinstance(data, KeptArguments) and isinstance(data, NamedColumns)):
        return False
    reader = FrameReader.from_arguments(data.hparams, data.feature_names)
    if reader is None or reader.unseen != "add" or reader.design.names == earlier.design.names:
        return False
    return is_extension(reader.design, earlier.design)
