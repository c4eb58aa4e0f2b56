"""`linreg summary`: prints the coefficients of a checkpoint."""

from linreg_lightning.callbacks.coefficient_file import report
from linreg_lightning.cli.fitted_model import (
    command_parser,
    fit_of,
    fitted_model,
    hypothesis_test,
    json_text,
)


def summary(args: list[str]) -> str:
    """Return a fitted model's summary in some format, or the content of coefficients.json.

    With `--test`, the test of hypotheses follows. InputError says that there is no checkpoint, or
    that its model has no coefficients.
    """
    parser = command_parser("summary", "Print the coefficients that a checkpoint holds.")
    parser.add_argument("--ckpt_path", default="last", help="a file, last or best (default: last)")
    given = parser.parse_args(args)
    with fitted_model(given.ckpt_path, given.root, given.trust) as model:
        test = None
        if given.test is not None:
            test = hypothesis_test(fit_of(model, given.ckpt_path), given.test)
        if given.format == "json":
            return json_text(report(model) | ({"test": test.to_dict()} if test else {}))
        texts = [model.summary(given.format), *([test.summary(given.format)] if test else [])]
        return "\n\n".join(texts)
