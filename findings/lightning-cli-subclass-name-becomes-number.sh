#!/usr/bin/env bash
# lightning 2.6.6, jsonargparse 4.53.0, torch 2.13.0, Python 3.11.
#
# A model has an argument `column: str`, and LightningCLI is given --model.column=1e3.
# One would guess: `save_hyperparameters()` stores what __init__ received, the text '1e3'.
# Seen: it does so when the command names no class. In subclass mode (--model=Model), __init__ still receives
# '1e3', and `hparams` and the checkpoint hold the float 1000.0. Other texts that look like numbers
# ('007', '1_000', '0x10', '1.50') stay text in both modes.
# Why it matters: names such as 1e3 or 7e10 are ordinary identifiers (columns, short commit ids, plate
# wells). `load_from_checkpoint` then passes a float to an argument that is declared as text, and a
# comparison of the checkpoint's hyper-parameters with the given ones fails for equal input.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 lightning==2.6.6 'jsonargparse[signatures]==4.53.0'
cat > "$work/check.py" <<'PYTHON'
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LightningCLI


class Model(LightningModule):
    def __init__(self, column: str = "x") -> None:
        super().__init__()
        self.save_hyperparameters()
        self.column = column


def received_and_saved(text: str, subclass_mode: bool) -> tuple[object, object]:
    args = [f"--model.column={text}"]
    if subclass_mode:
        args.insert(0, "--model=Model")
    cli = LightningCLI(
        Model, run=False, args=args, save_config_callback=None, subclass_mode_model=subclass_mode
    )
    return cli.model.column, cli.model.hparams["column"]


print("text, received by __init__, saved in hparams (plain mode; subclass mode)")
for text in ("1e3", "007", "1_000", "0x10", "1.50", "yes", "1:30"):
    plain, subclass = received_and_saved(text, False), received_and_saved(text, True)
    print(repr(text), plain, subclass)
    assert plain == (text, text)
    assert subclass == (text, 1000.0 if text == "1e3" else text)
    assert isinstance(subclass[1], float) == (text == "1e3")
PYTHON
cd "$work" && "$work/env/bin/python" -W ignore check.py
