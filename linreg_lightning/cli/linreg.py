"""The `linreg` command: its help and its defaults, for linear regression."""

from linreg_lightning import __version__
from linreg_lightning.cli.command import Command

linreg = Command(
    name="linreg",
    about="Linear regression on PyTorch Lightning.",
    model="linreg_lightning.models.linear.LinearRegression",
    data="linreg_lightning.data.synthetic.SyntheticData",
    version=__version__,
    examples=(
        "fit",
        "fit --data.path houses.csv --data.target price",
        "fit --data.path houses.csv --data.target price --model LeastSquares",
        "fit --data.path houses.csv --data.target price --model RegularizedLeastSquares",
        "predict --ckpt_path last --data.path new.csv",
        "test --ckpt_path last --data.path held_out.csv --data.test_fraction 1",
    ),
    models=(
        "linreg_lightning.models.manual.ManualLinearRegression",
        "linreg_lightning.models.least_squares.LeastSquares",
        "linreg_lightning.models.regularized.RegularizedLeastSquares",
    ),
    table="linreg_lightning.data.tabular.TabularData",
    # The columns of a table often differ in scale and are correlated. With this momentum the steps
    # are as long as those of rate 0.1 without it, and stay stable.
    table_options={
        "model.standardize": True,
        "model.momentum": 0.9,
        "model.lr": 0.01,
        "trainer.max_epochs": 500,
    },
    commands={
        "summary": "linreg_lightning.cli.summary:summary",
        "compare": "linreg_lightning.cli.compare:compare",
        "diagnose": "linreg_lightning.cli.diagnose:diagnose",
        "new": "linreg_lightning.project.new:new",
    },
    purposes={
        "fit": "fit a model, print its coefficients; alone it runs the tutorial's problem",
        "summary": "print a fitted model's coefficients, as a table or JSON; test them (--test)",
        "compare": "compare two fits (linreg compare A.ckpt B.ckpt), test hypotheses (--test)",
        "diagnose": "say whether the assumptions of a fit hold, in sentences and pictures",
        "new": "write a small project of your own, for numbers, classes or images (--task)",
    },
)
"""What the `linreg` command runs; `cli.main` is its `main`."""
