"""Where this package's own files are, however it was installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent


def files() -> Iterator[tuple[str, Path]]:
    """Every file of a checkout, as its path there and where it is now.

    In a checkout what is not the package lies beside it; a wheel carries it in `_checkout`.
    """
    installed = PACKAGE / "_checkout"
    root = installed if installed.is_dir() else PACKAGE.parent
    for part in (".ci", ".github", ".gitignore", "LICENSE", "configs", "pyproject.toml", "tests"):
        yield from _below(root / part, part)
    for path in sorted(PACKAGE.iterdir()):
        if path != installed:
            yield from _below(path, f"{PACKAGE.name}/{path.name}")


def _below(path: Path, name: str) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield name, path
    elif path.name != "__pycache__":
        for child in sorted(path.iterdir()):
            yield from _below(child, f"{name}/{child.name}")
