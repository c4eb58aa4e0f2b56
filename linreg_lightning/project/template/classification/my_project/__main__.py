"""The command of the project; `python -m my_project` runs it too."""

from linreg_lightning.cli import Command

command = Command(
    name="my-project",
    about="Tell fruits apart by their sizes and colours.",
    model="my_project.model.Classifier",
    data="my_project.data.Fruits",
    trainer={"max_epochs": 100},
    examples=(
        "fit",
        "fit -c base --model.hidden 64",
        "test --ckpt_path last",
        "predict --ckpt_path last --data.path new.csv",
    ),
)

if __name__ == "__main__":
    command.run()
