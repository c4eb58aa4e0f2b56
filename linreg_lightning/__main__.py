"""The process of the `linreg` command, which `python -m linreg_lightning` starts too."""

from linreg_lightning.cli.linreg import linreg

run = linreg.run

if __name__ == "__main__":
    run()
