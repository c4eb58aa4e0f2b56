"""The command of the project; `python -m my_project` runs it too."""

from linreg_lightning.cli import Command

from my_project import __version__

command = Command(
    name="my-project",
    about="Tell circles, squares and triangles apart.",
    model="my_project.model.ConvNet",
    data="my_project.data.Shapes",
    version=__version__,
    trainer={"max_epochs": 10},
    examples=(
        "my-project fit",
        "my-project fit -c base --model.channels 32",
        "my-project test --ckpt_path last",
        "my-project predict --ckpt_path last",
        "tensorboard --logdir logs",
    ),
)

if __name__ == "__main__":
    command.run()
