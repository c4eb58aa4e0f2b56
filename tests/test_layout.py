"""Imports run one way, and what the package promises to name is there."""

import ast
from pathlib import Path

import pytest

import linreg_lightning

PACKAGE = Path(linreg_lightning.__file__).parent

# Which rooms of the package each room may import, besides itself.
ALLOWED = {
    "errors": set(),
    "batch": {"errors"},
    "manual": {"errors"},
    "algebra": {"errors", "batch"},
    "data": {"errors", "batch", "manual", "algebra"},
    "models": {"errors", "batch", "manual", "algebra"},
    "callbacks": {"errors", "batch"},
    "logger": {"errors"},
    "cli": {"errors", "callbacks", "data", "models", "logger"},
    "__main__": {"cli"},
}
TORCH_ALONE = {"batch", "manual", "algebra"}
ONLY_THE_COMMAND = {"lightning.pytorch.cli", "jsonargparse"}
MODULES = sorted(set(PACKAGE.glob("**/*.py")) - {PACKAGE / "__init__.py"})


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    here = room(path)
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package == "linreg_lightning" and rest:
            assert rest.split(".")[0] in ALLOWED[here] | {here}, name
        assert package != "pytorch_lightning"
        if here in TORCH_ALONE:
            assert package not in {"lightning", "torchmetrics", "numpy", "pyarrow"}, name
        if name in ONLY_THE_COMMAND:
            assert here == "cli"


def test_no_model_moves_itself_to_a_device() -> None:
    for path in (PACKAGE / "models").glob("*.py"):
        text = path.read_text()
        assert ".cuda(" not in text
        assert ".to(device" not in text


def test_every_public_name_is_there_and_documented() -> None:
    for name in linreg_lightning.__all__:
        assert getattr(linreg_lightning, name).__doc__ or name == "Trainer"
        assert name in dir(linreg_lightning)
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = linreg_lightning.Nonsense
