#!/usr/bin/env bash
# jsonargparse 4.53.0, Python 3.11.
#
# A model has an argument `weights: dict[str, float] = {"a": 1.0, "b": 2.0}`; `class Same(Model): pass` adds nothing. The
# command line chooses the class by --model and gives --model.weights.c=3.
# One would guess: the entry is added to the default, or replaces it, for both classes alike.
# Seen: --model=Model adds it: a, b and c. --model=Same forgets the default: only c is left. Once the parser has a default
# for --model, whichever of the two classes that is, --model=Same adds the entry too.
# Why it matters: the same option of the same argument trains with other weights for a subclass than for its base, and
# changes its meaning when a project gives its command a default model. Nothing is said, because each dict is valid.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet 'jsonargparse[signatures]==4.53.0'
cat > "$work/check.py" <<'PYTHON'
from jsonargparse import ArgumentParser


class Model:
    def __init__(self, weights: dict[str, float] = {"a": 1.0, "b": 2.0}) -> None:
        self.weights = weights


class Same(Model):
    pass


def weights(named: str, default: str) -> dict[str, float]:
    parser = ArgumentParser()
    parser.add_subclass_arguments(Model, "model")
    if default:
        parser.set_defaults({"model": {"class_path": f"__main__.{default}"}})
    words = [f"--model={named}"] if named else []
    return parser.instantiate(parser.parse_args([*words, "--model.weights.c=3"])).model.weights


added = {"a": 1.0, "b": 2.0, "c": 3.0}
for named, default in (("Model", ""), ("Same", ""), ("Same", "Model"), ("Same", "Same"), ("", "Same")):
    seen = weights(named, default)
    print(f"--model={named or '(not given)'}, default {default or '(none)'}: {seen}")
    assert seen == ({"c": 3.0} if (named, default) == ("Same", "") else added)
PYTHON
cd "$work" && "$work/env/bin/python" -W ignore check.py
