"""The command of the project; `python -m my_project` runs it too."""

from linreg_lightning.cli import Command

from my_project import __version__

command = Command(
    name="my-project",
    about="Tell fruits apart by their sizes and colours.",
    model="my_project.model.Classifier",
    data="my_project.data.Fruits",
    version=__version__,
    trainer={"max_epochs": 200},
    examples=(
        "my-project fit",
        "my-project fit -c base --model.hidden 64",
        "my-project test --ckpt_path last",
        "my-project predict --ckpt_path last --data.path new.csv",
        "tensorboard --logdir logs",
    ),
)

if __name__ == "__main__":
    command.run()
