"""TightLoop needs private names of Lightning; without one of them the Trainer takes all steps."""

import ast
import re
import sys
import warnings
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from third_party.small import MakeTrainer, Small, assert_same, fitted

import linreg_lightning as package
from linreg_lightning import TightLoop
from linreg_lightning.tight_loop.lightning_internals import CHECKPOINT_NAMES, TRAINER_NAMES

PACKAGE = Path(package.__file__).parent
INTERNALS = PACKAGE / "tight_loop" / "lightning_internals.py"


def hide(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    """Hide an attribute from the code of tight_loop; Lightning still sees it."""
    original = owner.__getattribute__

    def without(self: Any, attribute: str) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if attribute == name and caller.startswith("linreg_lightning.tight_loop"):
            raise AttributeError(name)
        return original(self, attribute)

    monkeypatch.setattr(owner, "__getattribute__", without)


@pytest.fixture(scope="module")
def owners() -> dict[str, type]:
    """Return a dictionary from each private name to the class that has it."""
    found: dict[str, type] = dict.fromkeys(CHECKPOINT_NAMES, ModelCheckpoint)

    class FindsOwners(Small):
        def on_train_start(self) -> None:
            for name in TRAINER_NAMES:
                path = name.rpartition(".")[0]
                owner = type(attrgetter(path)(self.trainer))
                found[name] = Small if owner is FindsOwners else owner

    fitted(FindsOwners, quiet_trainer, [], [], logger=False)
    return found


def quiet_trainer(**options: Any) -> Trainer:
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(**{"enable_checkpointing": False, **options}, **quiet, accelerator="cpu")


def fit(folder: Path, tight: list[Callback]) -> dict[str, Any]:
    callbacks: list[Callback] = [ModelCheckpoint(folder, every_n_train_steps=9)]
    options = {"max_epochs": 2, "enable_checkpointing": True}
    return fitted(Small, quiet_trainer, tight, callbacks, **options)[0]


@pytest.fixture(scope="module")
def without_loop(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the results of the Trainer alone."""
    return fit(tmp_path_factory.mktemp("without_loop"), [])


@pytest.mark.parametrize("name", [*TRAINER_NAMES, *CHECKPOINT_NAMES])
def test_without_a_private_name_the_trainer_takes_all_steps(
    name: str,
    owners: dict[str, type],
    without_loop: dict[str, Any],
    group_sizes: list[int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    hide(monkeypatch, owners[name], name.rpartition(".")[2])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with_loop = fit(tmp_path, [TightLoop(8)])
    messages = [str(each.message) for each in caught if "TightLoop" in str(each.message)]
    assert len(messages) == 1
    attribute = name.rpartition(".")[2]  # another object of the same class lacks it too
    assert re.search(rf"has no ([\w.]+\.)?{attribute}, so the Trainer takes all steps", messages[0])
    assert not group_sizes
    assert_same(with_loop, without_loop)


def test_no_warning_is_given_if_all_private_names_exist(
    trainer: MakeTrainer, group_sizes: list[int]
) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="TightLoop")
        fitted(Small, trainer, [TightLoop(8)], [])
    assert group_sizes


@pytest.mark.parametrize(
    "path",
    [path for path in (PACKAGE / "tight_loop").glob("*.py") if path != INTERNALS],
    ids=lambda path: path.name,
)
def test_only_lightning_internals_uses_private_names_of_other_objects(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            assert isinstance(node.value, ast.Name), ast.unparse(node)
            assert node.value.id == "self", ast.unparse(node)
        if isinstance(node, ast.ImportFrom):
            assert not any(alias.name.startswith("_") for alias in node.names)
