"""Imports run one way, files are short, and every public name has a docstring."""

import ast
from pathlib import Path

import pytest

import linreg_lightning as package

PACKAGE = Path(package.__file__).parent

# Which rooms of the package each room may import, besides itself.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "atomic_file": {"errors"},
    "checkpoint_file": {"errors"},
    "checkpoint_io": {"atomic_file"},
    "frames": {"errors"},
    "matching": {"errors", "frames"},
    "hook_markers": set(),
    "protocols": set(),
    "text_table": {"errors"},
    "coefficient_table": {"errors", "text_table"},
    "batch": {"errors"},
    "validation": {"errors", "batch", "frames", "matching"},
    "tutorial": {"errors"},
    "algebra": {"errors", "batch", "matching", "validation", "text_table", "coefficient_table"},
    "metrics": {"errors", "batch"},
    "plots": {"errors"},
    "tables": {"errors", "atomic_file", "frames", "matching", "validation"},
    "design_matrix": {"errors", "batch", "frames", "matching", "validation", "tables"}
    | {"metrics"},
    "data": {"errors", "batch", "frames", "validation", "protocols", "tables", "design_matrix"}
    | {"tutorial", "checkpoint_file", "algebra"},
    "tight_loop": {"hook_markers", "validation"},
    "estimator_base": {"errors", "batch", "frames", "matching", "validation"},
    "estimator": {"errors", "batch", "algebra", "estimator_base"},
    "estimator_selection": {"errors", "batch", "validation", "algebra", "estimator_base"},
    "models": {"errors", "batch", "frames", "validation", "protocols", "hook_markers", "text_table"}
    | {"tutorial", "algebra", "metrics", "design_matrix", "checkpoint_file", "coefficient_table"},
    "callbacks": {"errors", "atomic_file", "batch", "validation", "protocols", "hook_markers"}
    | {"text_table", "plots", "tables", "tight_loop", "checkpoint_io"},
    "logger": {"atomic_file"},
    "project": {"errors", "atomic_file"},
    "cli": {"errors", "protocols", "callbacks", "data", "models", "logger", "tables", "text_table"}
    | {"tight_loop", "checkpoint_file", "atomic_file", "checkpoint_io", "algebra"}
    | {"batch", "coefficient_table", "plots"},
    "__main__": {"cli"},
}
NUMBA_TAKES_ARRAYS = "exact_kernel.py"
TORCH_ALONE = {"batch", "tutorial", "algebra"}
NO_LIGHTNING = TORCH_ALONE | {"tables", "design_matrix", "plots", "validation", "protocols"}
ONLY_THE_COMMAND = {"lightning.pytorch.cli", "jsonargparse"}
MODULES = sorted(
    path
    for path in PACKAGE.glob("**/*.py")
    if path != PACKAGE / "__init__.py" and "template" not in path.parts
)


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            if node.module == package.__name__:
                modules = {alias.name for alias in node.names} - {"__version__"}
                names |= {f"{node.module}.{module}" for module in modules}
    return names


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    here = room(path)
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == package.__name__ and rest:
            assert rest.split(".")[0] in ALLOWED[here] | {here}, name
        assert top != "pytorch_lightning"
        if here in TORCH_ALONE and path.name != NUMBA_TAKES_ARRAYS:
            assert top not in {"torchmetrics", "numpy"}, name
        if here in NO_LIGHTNING:
            assert top != "lightning", name
        if top == "matplotlib":
            assert here == "plots"
        if name in ONLY_THE_COMMAND:
            assert here == "cli"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, node.name


def test_no_model_moves_itself_to_a_device() -> None:
    for path in (PACKAGE / "models").glob("*.py"):
        text = path.read_text()
        assert ".cuda(" not in text
        assert "self.to(" not in text


def test_every_public_name_exists_and_has_a_docstring() -> None:
    for name in package.__all__:
        assert getattr(package, name).__doc__ or name == "Trainer"
        assert name in dir(package)
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = package.Nonsense
