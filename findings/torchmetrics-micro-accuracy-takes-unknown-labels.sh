#!/usr/bin/env bash
# torchmetrics 1.9.0, torch 2.13.0 (CPU), Python 3.11.
#
# A target has labels that no class has: 3 where there are three classes (they begin at 0), or -100, the padding
# that cross_entropy leaves out. `MulticlassAccuracy(3)` has `validate_args=True`, whose documentation says that the input
# is checked.
# One would guess: both labels raise an error, or neither does, whatever the average and the form of the predictions.
# Seen: average="macro" raises for logits. average="micro" raises for predicted labels. average="micro" with
# logits, which is what a network gives, counts every such row as a wrong prediction and says nothing: the target is only
# checked where the predictions are whole numbers. In the source, `a + b if condition else ()` is meant as
# `a + (b if condition else ())`.
# Why it matters: with labels 1 to 3 in place of 0 to 2, or with padding, the accuracy is too low and looks like that of
# a bad model. `Accuracy(task="multiclass")` has average="micro" by default.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 torchmetrics==1.9.0
cd "$work"
"$work/env/bin/python" -W ignore - <<'PYTHON'
import torch
from torchmetrics.classification import MulticlassAccuracy

labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
logits = torch.nn.functional.one_hot(labels, 3).float()


def accuracy(average, prediction, target):
    try:
        return MulticlassAccuracy(3, average=average)(prediction, target).item()
    except RuntimeError as error:
        return type(error).__name__


print("label, average, predictions: accuracy of right predictions of all rows but two of this label")
for label in (3, -100):
    target = labels.clone()
    target[:2] = label
    for average in ("macro", "micro"):
        for name, prediction in (("logits", logits), ("labels", labels)):
            seen = accuracy(average, prediction, target)
            print(label, average, name, seen)
            if average == "micro" and name == "logits":
                assert seen == 0.75
            elif name == "logits" or label == 3 or average == "macro":
                assert seen == "RuntimeError"
    ignored = MulticlassAccuracy(3, average="micro", ignore_index=label)(logits, target)
    assert ignored == 1.0
PYTHON
