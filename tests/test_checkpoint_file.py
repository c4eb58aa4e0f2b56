"""What is read from a checkpoint and beside it: damaged files, unknown classes, settings."""

import argparse
import io
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from faults.test_damaged_checkpoints import (
    FAULTS,
    campaign,
    checkpoint_cases,
    make_runs,
    settings_cases,
)

from linreg_lightning import InputError, LeastSquares, LinearRegression, TensorData, cli
from linreg_lightning.checkpoint_file import check_archive, read_checkpoint
from linreg_lightning.cli import checkpoint_info
from linreg_lightning.cli.checkpoint_info import CheckpointInfo
from linreg_lightning.cli.settings_file import load_yaml

Linreg = Callable[..., dict[str, Any]]
Refused = Callable[..., str]
FIT = "fit --model LeastSquares --data.rows 30"


def checkpoints() -> list[Path]:
    """Return the checkpoints below the present folder, the newest first."""
    return sorted(Path().glob("**/*.ckpt"), key=lambda file: -file.stat().st_mtime_ns)


def summary(capsys: pytest.CaptureFixture[str], words: str = "") -> str:
    capsys.readouterr()
    cli.main(["summary", *words.split()])
    return capsys.readouterr().out


def change(path: Path, function: Callable[[dict[str, Any]], Any]) -> None:
    """Let a function change a checkpoint's content, and write it again."""
    content = torch.load(path, weights_only=True)
    function(content)
    torch.save(content, path)


def cycle() -> list[Any]:
    """Return a list that contains itself."""
    values: list[Any] = []
    values.append(values)
    return values


# Damaged files


def test_no_flipped_bit_of_an_archive_changes_what_is_read() -> None:
    content = {"x": torch.arange(5.0), "text": "abc"}
    stream = io.BytesIO()
    torch.save(content, stream)
    whole = stream.getvalue()
    refusals = 0
    for bit in range(0, 8 * len(whole), 7):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        file = io.BytesIO(changed)
        try:
            if not check_archive(file, "x.ckpt"):
                raise InputError("no archive")
        except InputError:
            refusals += 1
            continue
        try:
            again = torch.load(file, weights_only=True)
        except RuntimeError:  # torch's reader compares more of the directory
            refusals += 1
            continue
        assert torch.equal(again["x"], content["x"]), bit
        assert again["text"] == "abc"
    assert refusals > len(whole) / 2


def test_a_record_marked_as_a_folder_is_refused() -> None:
    stream = io.BytesIO()
    torch.save({"x": torch.ones(3)}, stream)
    changed = bytearray(stream.getvalue())
    name = changed.rindex(b"archive/data/0")  # in the directory, 46 bytes after the entry's start
    changed[name - 46 + 38] |= 0x10
    with pytest.raises(InputError, match="damaged"):
        check_archive(io.BytesIO(changed), "x.ckpt")


@pytest.mark.parametrize(
    ("damage", "facts"),
    [
        (lambda content: content[:-100], "damaged or cut off"),
        (lambda content: b"", "damaged or cut off (it is empty)"),
        (lambda content: content.replace(b"state_dict", b"state_dicu"), "its checksums"),
        (lambda content: b"\x89PNG" * 50, "not a checkpoint of a Lightning model"),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_line(
    command: Linreg, refused: Refused, damage: Callable[[bytes], bytes], facts: str
) -> None:
    command(FIT)
    (path,) = checkpoints()
    path.write_bytes(damage(path.read_bytes()))
    for line in ("test", "summary"):
        message = refused(f"{line} --ckpt_path {path}")
        assert message.startswith("linreg: error: --ckpt_path: ")
        assert facts in message
    with pytest.raises(Exception, match=r"damaged|cut off|Weights only|Invalid"):
        LeastSquares.load_from_checkpoint(path)


def test_python_and_the_trainer_refuse_a_damaged_checkpoint(trainer: Callable[..., Any]) -> None:
    data = TensorData(torch.arange(6.0).reshape(6, 1), torch.arange(6.0))
    runner = trainer(max_epochs=1)
    runner.fit(LeastSquares(), data)
    runner.save_checkpoint("whole.ckpt")
    content = Path("whole.ckpt").read_bytes()
    start = content.index(b"PK\x07\x08", content.index(b"/data/0")) - 8
    changed = bytearray(content)
    changed[start] ^= 1  # in the first tensor, which torch loads without a word
    Path("changed.ckpt").write_bytes(changed)
    torch.load("changed.ckpt", weights_only=True)
    with pytest.raises(InputError, match=r"changed\.ckpt is damaged"):
        LeastSquares.load_from_checkpoint("changed.ckpt")
    with pytest.raises(InputError, match=r"changed\.ckpt is damaged"):
        trainer().test(LeastSquares(), data, ckpt_path="changed.ckpt")
    LeastSquares.load_from_checkpoint("whole.ckpt")
    with pytest.raises(TypeError, match="instance"):
        LeastSquares().load_from_checkpoint("whole.ckpt")


def test_a_checkpoint_that_may_not_be_read_is_named_as_such(
    command: Linreg, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(FIT)
    (path,) = checkpoints()
    real = Path.open

    def forbid(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.suffix == ".ckpt":  # a superuser may read every file
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", forbid)
    message = refused(f"summary --ckpt_path {path}")
    assert f"{path} cannot be read (Permission denied)" in message
    assert "no checkpoint below logs can be read" in refused("summary")


def test_a_folder_in_place_of_a_checkpoint_is_refused(refused: Refused) -> None:
    Path("a.ckpt").mkdir()
    assert "a.ckpt cannot be read (Is a directory)" in refused("summary --ckpt_path a.ckpt")
    assert "there is no file" in refused("summary --ckpt_path a\0b")


def test_an_unsafe_checkpoint_is_refused_without_advice_to_load_it(
    command: Linreg, refused: Refused
) -> None:
    command(FIT)
    (path,) = checkpoints()
    change(path, lambda content: content.update(extra=argparse.Namespace()))
    for line in (f"summary --ckpt_path {path}", "test --ckpt_path last"):
        message = refused(line)
        assert "holds a argparse.Namespace" in message
        assert "plain numbers, texts, lists or tensors" in message
        for advice in ("weights_only", "safe_globals", "trust", "\x1b"):
            assert advice not in message


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.pop("state_dict"),
        lambda content: content["state_dict"].clear(),
        lambda content: content.update(loops={}),
        lambda content: content.update(hyper_parameters=5),
        lambda content: content["hyper_parameters"].update(_class_path=5),
        lambda content: content["hyper_parameters"].update(ridge=cycle()),
        lambda content: content.update(statistics=[1]),
        lambda content: content.update(columns={}),
        lambda content: content["columns"].update(true=5),
        lambda content: content["hyper_parameters"].update(_instantiator="os.system"),
    ],
)
def test_a_checkpoint_with_foreign_content_is_no_traceback(
    command: Linreg, spoil: Callable[[dict[str, Any]], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    command(FIT)
    (path,) = checkpoints()
    whole = summary(capsys)
    change(path, spoil)
    for line in ("summary", "predict"):
        try:
            command(f"{line} --ckpt_path {path}")
        except SystemExit:
            assert capsys.readouterr().err.startswith("linreg: error: ")
        else:
            assert line == "predict" or capsys.readouterr().out == whole


def test_a_fit_does_not_resume_from_weights_alone(command: Linreg, refused: Refused) -> None:
    command("fit --trainer.max_epochs 1")
    (path,) = checkpoints()
    change(path, lambda content: content.pop("optimizer_states"))
    assert "holds coefficients alone" in refused("fit --ckpt_path last --trainer.max_epochs 2")
    command("predict --ckpt_path last")


@pytest.mark.parametrize("changed", [None, False])
def test_a_checkpoint_that_no_longer_says_standardize_is_refused(
    command: Linreg, refused: Refused, changed: bool | None
) -> None:
    command("fit --model.standardize true --trainer.max_epochs 1")
    (path,) = checkpoints()
    with pytest.raises(InputError, match="standardize: false was given"):
        LinearRegression.load_from_checkpoint(path, standardize=False)
    change(path, lambda content: content["hyper_parameters"].update(standardize=changed))
    for line in ("summary", "predict --ckpt_path last"):
        assert "standardize: " in refused(line)


def test_a_checkpoint_that_names_no_target_is_refused(command: Linreg, refused: Refused) -> None:
    command(FIT)
    (path,) = checkpoints()
    change(path, lambda content: content["columns"].update(targets=[]))
    for line in ("summary", "predict --ckpt_path last"):
        assert "does not name the columns of y" in refused(line)


# --ckpt_path last


def test_last_skips_what_cannot_be_read_and_says_so(
    command: Linreg, capsys: pytest.CaptureFixture[str], refused: Refused
) -> None:
    command(FIT)
    (first,) = checkpoints()
    whole = summary(capsys)
    command(f"{FIT} --data.seed 1")
    newest = checkpoints()[0]
    newest.write_bytes(newest.read_bytes()[:-1000])
    assert summary(capsys) == whole
    command("predict --ckpt_path last")
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warning.startswith(f"linreg: warning: --ckpt_path: {newest} is damaged or cut off")
    assert warning.endswith(f"{first} is used instead")
    Path("logs/gone.ckpt").symlink_to("nowhere.ckpt")
    assert summary(capsys) == whole
    first.write_bytes(b"")
    assert "no checkpoint below logs can be read" in refused("summary")


def test_last_finds_the_checkpoint_that_replaces_the_newest(
    command: Linreg, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(FIT)
    (path,) = checkpoints()
    next_path = path.with_name("epoch=1.ckpt")

    def replace(path: Path, *options: bool) -> dict[str, Any]:
        if not next_path.exists():  # another run replaces the file after it was listed
            path.rename(next_path)
        return read_checkpoint(path, *options)

    monkeypatch.setattr(checkpoint_info, "read_checkpoint", replace)
    assert CheckpointInfo.read("last", "logs").path == next_path


@pytest.mark.parametrize(
    "line", ["summary", "predict --ckpt_path last", "validate --ckpt_path last"]
)
def test_a_checkpoint_may_vanish_once_it_was_read(
    command: Linreg, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("fit --trainer.max_epochs 1")

    def vanish(path: Path, *options: bool) -> dict[str, Any]:
        content = read_checkpoint(path, *options)
        path.unlink()
        return content

    monkeypatch.setattr(checkpoint_info, "read_checkpoint", vanish)
    command(line)
    assert not checkpoints()


# config.yaml beside a checkpoint


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"", "is empty"),
        (b"hello", "holds no settings by name"),
        (b"model: x", "it has no settings of a trainer"),
        (b"trainer: 5", "it has no settings of a trainer"),
        (b"trainer: {max_epochs: [1]}", "its trainer settings are not plain values"),
        (b"trainer: {max_epochs: \xff}", "is not UTF-8 text: its byte 23 is 0xff"),
        (b"trainer: {max_epochs", "is not valid YAML"),
        (b"trainer: &a {max_epochs: *a}", "the alias *a contains itself"),
    ],
)
def test_a_damaged_config_beside_a_checkpoint_is_refused_in_one_line(
    command: Linreg, refused: Refused, content: bytes, facts: str
) -> None:
    command("fit --trainer.max_epochs 1")
    Path("logs/version_0/config.yaml").write_bytes(content)
    message = refused("fit --ckpt_path last --trainer.max_epochs 2")
    assert "--ckpt_path: logs/version_0/config.yaml" in message
    assert facts in message
    command("predict --ckpt_path last")  # needs no settings of the Trainer


# Classes that a checkpoint names

MODULE = """
    from collections.abc import Callable
    from pathlib import Path
    from linreg_lightning import LeastSquares, LinearRegression, SyntheticData

    Path("was_imported").touch()

    class Mine(LeastSquares):
        pass

    class Rows(SyntheticData):
        pass

    class Rowing(SyntheticData):
        def __init__(self, steps: list[Callable], step: Callable | str, name: str | None):
            super().__init__()
"""


def fit_own_class(command: Linreg, name: str, options: str = "") -> Path:
    """Fit with a model of the present folder; forget its module, as in a checkpoint of others."""
    Path(f"{name}.py").write_text(textwrap.dedent(MODULE))
    command(f"fit --model {name}.Mine {options}")
    del sys.modules[name]
    Path("was_imported").unlink()
    change(checkpoints()[0], lambda content: content.pop("run_written"))
    return checkpoints()[0]


def test_a_class_of_an_unknown_module_needs_its_name_or_trust(
    command: Linreg, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fit_own_class(command, "unknown_module")
    for line in ("predict --ckpt_path last", "fit --ckpt_path last --data.rows 50"):
        message = refused(line)
        assert message.endswith(
            f"--ckpt_path: {path} names the class unknown_module.Mine, and opening it would run "
            "the code of that module; if you know it, name it (--model unknown_module.Mine), or "
            "type --trust"
        )
    assert "type --trust" in refused("summary")
    assert not Path("was_imported").exists()
    assert "unknown_module" not in sys.modules

    command("predict --ckpt_path last --model unknown_module.Mine")
    del sys.modules["unknown_module"]
    command("predict --ckpt_path last --trust")
    del sys.modules["unknown_module"]
    assert "intercept" in summary(capsys, "--trust")
    command("predict --ckpt_path last")  # the module is imported already
    del sys.modules["unknown_module"]
    Path("own.yaml").write_text("model: {class_path: unknown_module.Mine}\n")
    command("predict --ckpt_path last -c own.yaml")
    del sys.modules["unknown_module"]


def test_a_name_on_the_command_line_covers_the_classes_of_its_package(
    command: Linreg, refused: Refused
) -> None:
    fit_own_class(command, "both_classes", "--data both_classes.Rows")
    assert "names the class both_classes.Mine" in refused("test --ckpt_path last")
    command("validate --ckpt_path last --model both_classes.Mine")
    del sys.modules["both_classes"]


def test_trust_in_a_configuration_does_not_count(command: Linreg, refused: Refused) -> None:
    fit_own_class(command, "configured")
    Path("trust.yaml").write_text("trust: true\n")
    assert "type --trust" in refused("predict --ckpt_path last -c trust.yaml")
    assert "configured" not in sys.modules


@pytest.mark.parametrize("key", ["model", "data"])
def test_a_class_among_the_arguments_of_a_class_is_not_imported(
    command: Linreg, refused: Refused, key: str
) -> None:
    command(FIT)
    (path,) = checkpoints()
    Path("nested_module.py").write_text("open('was_imported', 'w')")
    where = "hyper_parameters" if key == "model" else "datamodule_hyper_parameters"
    stored = {"class_path": "nested_module.Evil"}
    change(path, lambda content: content.pop("run_written"))
    change(path, lambda content: content[where].update(ridge=[stored], rows=[stored]))
    assert "names the class nested_module.Evil" in refused("predict --ckpt_path last")
    assert not Path("was_imported").exists()


def test_a_function_among_the_arguments_of_a_class_is_not_imported(
    command: Linreg, refused: Refused
) -> None:
    fit_own_class(command, "functions")
    (path,) = checkpoints()
    Path("nested_module.py").write_text("open('was_imported', 'w')")
    line = "predict --ckpt_path last --model functions.Mine"
    for name, value in {"steps": ["nested_module.run"], "step": "nested_module.run"}.items():
        stored = {"_class_path": "functions.Rowing", name: value}
        change(path, lambda content, s=stored: content.update(datamodule_hyper_parameters=s))
        assert "names the class nested_module.run" in refused(line)
    stored = {"_class_path": "functions.Rowing", "steps": [], "step": "a", "name": "any.text"}
    change(path, lambda content: content.update(datamodule_hyper_parameters=stored))
    command(line)
    del sys.modules["functions"]


@pytest.mark.parametrize("class_path", ["builtins.dict", "torch", "os.system"])
def test_a_class_that_is_no_model_is_refused(
    command: Linreg, refused: Refused, class_path: str
) -> None:
    command(FIT)
    (path,) = checkpoints()
    change(path, lambda content: content["hyper_parameters"].update(_class_path=class_path))
    for line in ("summary", "predict --ckpt_path last"):
        assert f"names {class_path}, which is no LightningModule" in refused(line)


@pytest.mark.parametrize(
    ("class_path", "facts"),
    [
        ("linreg_lightning.models.Renamed", "AttributeError"),
        ("linreg_lightning.gone.Model", "linreg_lightning.gone"),
        ("test_checkpoint_file.Renamed", "Renamed"),
    ],
)
def test_a_class_that_was_renamed_is_named_with_the_folder(
    command: Linreg, refused: Refused, class_path: str, facts: str
) -> None:
    command(FIT)
    (path,) = checkpoints()
    change(path, lambda content: content["hyper_parameters"].update(_class_path=class_path))
    for line in ("summary", "predict --ckpt_path last"):
        message = refused(line)
        assert (
            f"holds a {class_path}, which cannot be imported in the folder {Path.cwd()}" in message
        )
        assert facts in message


def test_a_module_that_fails_is_one_line(command: Linreg, refused: Refused) -> None:
    fit_own_class(command, "failing")
    Path("failing.py").write_text("raise ZeroDivisionError('on purpose')\n")
    message = refused("predict --ckpt_path last --trust")
    assert "failing.Mine" in message
    assert "on purpose" in message


# Settings

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k + 1}: &a{k + 1} [{', '.join([f'*a{k}'] * 10)}]\n" for k in range(8)
)
BAD_SETTINGS = {
    "is not UTF-8 text: its byte 13 is 0xff": b"max_epochs: \xff",
    "is not UTF-8 text: its byte 1 is 0xff": "max_epochs: 3".encode("utf-16"),
    "nested more than 100 levels deep": b"- " * 3000 + b"1",
    "the alias *a contains itself": b"a: &a {b: *a}",
    "more than 100000 values": BOMB.encode(),
    "Exceeds the limit": b"max_epochs: " + b"9" * 6000,
    "has more than 1000000 bytes": b"# " + b"x" * 1_000_001,
}


@pytest.mark.parametrize(("facts", "content"), BAD_SETTINGS.items(), ids=BAD_SETTINGS.keys())
def test_settings_that_cannot_be_read_are_refused_in_one_line(
    refused: Refused, facts: str, content: bytes
) -> None:
    Path("bad.yaml").write_bytes(content)
    Path("run.yaml").write_text("trainer: bad.yaml\n")
    for option, key in (("-c bad", "config"), ("-c run", "trainer")):
        message = refused(f"fit {option}.yaml")
        assert message.startswith(f"linreg: error: --{key}: bad.yaml ")
        assert facts in message
    for key in ("trainer", "model", "data"):
        assert refused(f"fit --{key} bad.yaml").startswith(f"linreg: error: --{key}: bad.yaml ")


def test_an_option_nested_too_deep_is_refused_in_one_line(refused: Refused) -> None:
    refused(f"fit --data.rows {'[' * 3000}")


@pytest.mark.parametrize(
    "text", ["a: 1", "[a, b]", "{a: &b [1], c: *b}", "- - - 1", "x", "", "&a [1, &b 2, *b]"]
)
def test_ordinary_yaml_is_read_as_before(text: str) -> None:
    assert load_yaml(text) == yaml.safe_load(text)


def test_a_few_mutated_checkpoints_and_settings_are_refused_or_read_right() -> None:
    paths = make_runs()
    cases = checkpoint_cases(paths, 8, 4, seed=11, predict=False)
    counts = campaign([*cases, *settings_cases(paths[1], 6, seed=12)])
    assert not FAULTS & counts.keys()
    assert counts["refused"] > 6


def test_help_states_what_is_trusted(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--help"])
    assert "--trust" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["summary", "--help"])
    assert "--trust" in capsys.readouterr().out
