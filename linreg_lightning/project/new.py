"""`linreg new`: the command that makes a project of one's own from this package's files."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from linreg_lightning.errors import InputError
from linreg_lightning.project.contents import contents
from linreg_lightning.project.names import Names


def new(args: list[str]) -> str:
    """Make a project in a folder of its name, completely or not at all; return the next steps.

    InputError says that the name cannot be used, or that the folder exists.
    """
    text = "Make your own project: a package with command, tests and CI, in a folder."
    parser = argparse.ArgumentParser("linreg new", description=text)
    parser.add_argument("name", help="the package's name, in lower case, such as my_project")
    given = parser.parse_args(args).name
    names = Names.of(given)
    folder = Path(given)
    if folder.exists() or folder.is_symlink():
        raise InputError(f"name: there is a {given} here already; type another name, or move it")
    unfinished = Path(f".{given}-unfinished-{os.getpid()}")
    unfinished.mkdir()
    try:
        for path, text in contents(names):
            file = unfinished / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            if text.startswith("#!"):
                file.chmod(file.stat().st_mode | 0o111)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return f"""\
made  {folder}/, a project that trains, tested

  cd {folder}
  pip install -e '.[test]' && pytest
  {names.command} fit

your model     {names.package}/models/mlp.py
your data      {names.package}/data/waves.py, or any table by --data TabularData
your settings  configs/example.yaml"""
