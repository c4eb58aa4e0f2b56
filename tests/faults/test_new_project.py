"""All tests and types of a new project, which take a minute: `pytest tests/faults`."""

from pathlib import Path

from test_project import ROOT, install, run

from linreg_lightning import cli


def test_a_new_project_passes_its_tests_and_types() -> None:
    cli.main(["new", "my-project"])
    project = Path("my-project").resolve()
    python = str(install(project))
    assert "passed" in run([python, "-m", "pytest", "-q"], project)
    run([python, "-m", "mypy"], project, MYPY_CACHE_DIR=str(ROOT / ".mypy_cache"))
