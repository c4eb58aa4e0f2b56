"""The data: drawings of shapes, each 16 x 16 pixels."""

import linreg_lightning as ll
import torch
from linreg_lightning.validation import check_argument
from torch import Tensor

SIZE = 16


class Shapes(ll.SupervisedDataModule):
    """Grey drawings of circles, squares and triangles, of any size and place, with noise.

    Args:
        rows: drawings to train on; validation and test have a quarter as many each.
        noise: standard deviation of the noise; the drawing itself is 1 on 0.
        batch_size: drawings in a batch; None takes all at once.
        seed: of the drawings.
    """

    def __init__(
        self, rows: int = 1000, noise: float = 0.3, batch_size: int | None = 50, seed: int = 0
    ) -> None:
        check_argument("rows", rows, rows >= 4, "a whole number, 4 or above")
        check_argument("noise", noise, noise >= 0, "a number, 0 or above")
        super().__init__(batch_size, shuffle=True, seed=seed)
        self.save_hyperparameters()
        self.rows, self.noise = rows, noise
        self.class_names = ["circle", "square", "triangle"]

    def load(self, stage: str) -> None:
        """Fill each split: images, (rows, 1, height, width), and numbers of classes, (rows,)."""
        generator = torch.Generator().manual_seed(self.seed)
        self.splits["train"] = draw(self.rows, self.noise, generator)
        self.splits["val"] = draw(self.rows // 4, self.noise, generator)
        self.splits["test"] = draw(self.rows // 4, self.noise, generator)
        self.splits["predict"] = self.splits["test"]


def draw(rows: int, noise: float, generator: torch.Generator) -> ll.Batch:
    """Draw shapes of random classes, sizes and places."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(rows, 1, 1, generator=generator)

    radius = uniform(4, 6)
    centre_x, centre_y = uniform(6, SIZE - 6), uniform(6, SIZE - 6)
    pixels = torch.arange(SIZE)
    dx, dy = pixels - centre_x, pixels.unsqueeze(1) - centre_y
    circle = dx.square() + dy.square() < radius.square()
    square = torch.maximum(dx.abs(), dy.abs()) < 0.9 * radius
    triangle = (dy.abs() < radius) & (dx.abs() < (dy + radius) / 2)
    classes = torch.randint(3, (rows,), generator=generator)
    shapes = torch.stack([circle, square, triangle], dim=1)[torch.arange(rows), classes]
    images = shapes + noise * torch.randn(rows, SIZE, SIZE, generator=generator)
    return ll.Batch(images.unsqueeze(1), classes)
