"""The command of the project; `python -m my_project` runs it too."""

from linreg_lightning.cli import Command

command = Command(
    name="my-project",
    about="Tell circles, squares and triangles apart.",
    model="my_project.model.ConvNet",
    data="my_project.data.Shapes",
    trainer={"max_epochs": 10},
    examples=(
        "fit",
        "fit -c base --model.channels 32",
        "test --ckpt_path last",
        "predict --ckpt_path last",
    ),
)

if __name__ == "__main__":
    command.run()
