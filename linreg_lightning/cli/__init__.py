"""The `linreg` command: its entry, light enough to answer --help and --version at once."""

from __future__ import annotations

import sys

import linreg_lightning

HELP = """\
usage: linreg [--help] [--version] {fit,validate,test,predict,summary} ...

Linear regression on PyTorch Lightning.

  fit        fit a model, print its coefficients; alone it runs the tutorial's problem
  validate   measure a fitted model on the validation rows
  test       measure a fitted model on the test rows
  predict    write a fitted model's predictions to a file
  summary    print a fitted model's coefficients again, as a table or JSON

Start here:

  linreg fit
  linreg fit --model LeastSquares --data TabularData --data.path houses.csv --data.target price
  linreg predict --ckpt_path last --data.path new.csv
  linreg test --ckpt_path last --data.path held_out.csv --data.test_fraction 1
  tensorboard --logdir logs

More:

  linreg fit --help                        every option of a command
  linreg fit --model.help LinearRegression the options of a model; --data.help of a data module
  linreg fit --print_config                all settings as YAML, to keep and give by -c FILE
  linreg fit --ckpt_path last              go on with the newest run below the logs folder

Models: LinearRegression, ManualLinearRegression, LeastSquares, or a class path of your own
(my_package.MyModel).
Data: SyntheticData, TabularData, or a class path of your own.
"""


def main(args: list[str] | None = None) -> None:
    """Run one command line; returns when the work is done.

    Args:
        args: the words after `linreg`; None takes them from the process.

    Raises:
        SystemExit: the work could not be done; its code is 1 or 2, its message has been printed.
            Also with code 0 after some texts that were asked for, such as `fit --help`.

    >>> main(["--version"])
    linreg 0.1.0
    """
    args = sys.argv[1:] if args is None else list(args)
    if args in (["--help"], ["-h"]):
        print(HELP, end="")
    elif args == ["--version"]:
        print(f"linreg {linreg_lightning.__version__}")
    elif not args:
        print(HELP, end="", file=sys.stderr)
        raise SystemExit(2)
    else:
        from linreg_lightning.cli.command import run

        run(args)
