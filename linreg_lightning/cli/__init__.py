"""The command line: `Command`, of which `linreg` and the command of each project are instances.

The way of a command line: `command` answers --help at once (`help_text`), or starts `run`, which
imports what the command names (`command_classes`) and turns errors into one message
(`error_messages`, `terminal`) and an exit status. `command_words` orders the words. `first_parse`
reads what decides the defaults: the files of settings (`config_files`, which reads them by
`settings_file` and `setting_values`, and finds them by `named_configs`; `reused_settings`: those
that a run has saved) and the checkpoint (`checkpoint_info`; `checkpoint_trust`: which classes it
may name; `stored_arguments`: their arguments). `trainer_cli` is the LightningCLI that then parses
everything with `option_parser` and `option_checks`, makes the callbacks (`default_callbacks`,
`optimizers`), prepares the run's folder (`run_folder`; `loggers`: why there is no logger), and runs
the Trainer, which gets the checkpoint from `checkpoint_content`.

`resumed_fit` has what a fit that resumes may change, and `measured_rows` the rows to validate or
test on. `fit_report` prints the end of a fit. `summary`, `compare` and `diagnose` are
commands that report on checkpoints, whose models `fitted_model` loads.
What is specific to linear regression, its defaults and first lines of help, is in `linreg`.

Whatever a run asks of its command (name, default classes, settings), it asks `command.active()`.
"""

from linreg_lightning.cli.command import Command as Command
from linreg_lightning.cli.linreg import linreg as _linreg

main, fit = _linreg.main, _linreg.fit
