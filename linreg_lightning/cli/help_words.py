"""What the help of a subcommand says otherwise than Lightning."""

from __future__ import annotations

from lightning.pytorch.cli import LightningArgumentParser

_HELP = {
    "ckpt_path": "A checkpoint: a file; last, the newest below the folder of runs; or best, the "
    "one that the newest run found best.",
    "trainer.log_every_n_steps": "How often to log, in steps. Default: every 50, and at least once "
    "an epoch.",
}


def reworded(parser: LightningArgumentParser) -> LightningArgumentParser:
    """The parser itself, its help in words that hold here, and headings in place of docstrings."""
    for group in parser._action_groups:
        for action in group._group_actions:
            if action.dest in _HELP:
                action.help = _HELP[action.dest]
            if action.dest in ("model", "data"):
                group.title = f"The {action.dest}; --{action.dest}.help NAME lists its options"
    return parser
