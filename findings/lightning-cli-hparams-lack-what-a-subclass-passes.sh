#!/usr/bin/env bash
# lightning 2.6.6, jsonargparse 4.53.0, torch 2.13.0, Python 3.11.
#
# `Model.__init__(self, width)` calls `save_hyperparameters()` and reads `self.hparams.width` at once, as the
# documentation shows. `Wide.__init__(self, factor)` calls `super().__init__(width=10 * factor)`.
# One would guess: `hparams` holds the argument that `Model.__init__` received, whoever makes a `Wide`.
# Seen: from Python it does. LightningCLI puts the options of the command into `hparams` in place of the arguments: `width`
# is missing, and `Wide` cannot be made at all. Where the argument of the subclass has the name of the one that it
# passes on, as in `super().__init__(width=2 * width)`, `hparams` holds the undoubled width, from Python too.
# Why it matters: a subclass that fixes or computes an argument of its base class is the usual way to adapt a model or a
# data module. It works in a notebook and fails in the command, or trains with another value than it was given.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 lightning==2.6.6 'jsonargparse[signatures]==4.53.0'
cat > "$work/check.py" <<'PYTHON'
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LightningCLI


class Model(LightningModule):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.units = self.hparams.width


class Wide(Model):
    def __init__(self, factor: int = 2) -> None:
        super().__init__(width=10 * factor)


class Doubled(Model):
    def __init__(self, width: int = 3) -> None:
        super().__init__(width=2 * width)


def units(model_class, subclass_mode):
    args = [f"--model={model_class.__name__}"] if subclass_mode else []
    try:
        model = LightningCLI(
            Model if subclass_mode else model_class,
            run=False,
            args=args,
            save_config_callback=None,
            subclass_mode_model=subclass_mode,
        ).model
    except (AttributeError, ValueError) as error:
        return next(line.strip() for line in str(error).splitlines() if "attribute" in line)
    return model.units


print("units of the model: from Python, in the command, and where the command chooses the class")
for model_class in (Model, Wide, Doubled):
    seen = model_class().units, units(model_class, False), units(model_class, True)
    print(model_class.__name__, seen)
    if model_class is Wide:
        assert seen[0] == 20 and "no attribute 'width'" in seen[1] and seen[1] == seen[2]
    else:
        assert seen == (3, 3, 3)
PYTHON
cd "$work" && "$work/env/bin/python" -W ignore check.py
