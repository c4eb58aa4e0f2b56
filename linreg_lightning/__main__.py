"""`python -m linreg_lightning` is `linreg`."""

from linreg_lightning.cli import main

if __name__ == "__main__":
    main()
