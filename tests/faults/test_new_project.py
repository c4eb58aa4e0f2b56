"""A new project in an environment of its own: command, tests and types: `pytest tests/faults`."""

import re
from pathlib import Path

from test_project import ROOT, install, run

from linreg_lightning import cli


def test_a_new_project_fits_and_passes_its_tests_and_types() -> None:
    cli.main(["new", "my-project"])
    project = Path("my-project").resolve()
    run(["git", "init", "-q"], project)
    run(["git", "add", "."], project)
    python = install(project)
    fit = "fit -c example --trainer.accelerator cpu --figures false"
    output = run([str(python.parent / "my-project"), *fit.split()], project)
    assert float(re.findall(r"rmse ([\d.]+)", output)[-1]) < 0.15
    (settings,) = project.glob("logs/*/config.yaml")
    assert "class_path: my_project." in settings.read_text()
    untracked = run(["git", "status", "--porcelain", "--untracked-files"], project).splitlines()
    assert all(line.startswith("A ") for line in untracked)
    assert "passed" in run([str(python), "-m", "pytest", "-q"], project)
    run([str(python), "-m", "mypy"], project, MYPY_CACHE_DIR=str(ROOT / ".mypy_cache"))
