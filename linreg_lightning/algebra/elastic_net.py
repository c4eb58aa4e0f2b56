"""Paths of the lasso and the elastic net from cross-products, by an exact active-set method."""

import math

import torch
from torch import Tensor

_EPS = torch.finfo(torch.float64).eps


def elastic_net_path(
    cross: Tensor,
    xy: Tensor,
    yy: float,
    weight: float,
    alphas: Tensor,
    l1_ratio: float = 1.0,
    penalty_factor: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Minimise the elastic net for each alpha, from sums of products alone.

    With W = `weight`, A = `cross`, a = `xy`, f = `penalty_factor` and r = `l1_ratio`, it is

        (yy - 2 a'b + b'A b) / (2 W) + alpha sum_j f_j (r |b_j| + (1 - r) b_j^2 / 2)

    On the columns whose b_j is not 0, and as long as no sign changes, this is a quadratic function.
    A step goes to its minimum by a Cholesky factor, which grows with the columns that enter. A
    coefficient that would change its sign becomes 0 and leaves; a column at 0 whose slope exceeds
    alpha r f_j enters. The objective falls until no column can enter; the last step solves the
    normal equations of the columns left, so that no tolerance stops it early, and the others are
    exactly 0. Lee, Battle, Raina and Ng, Efficient sparse coding algorithms (2006), add one column
    at a time in this way; here all that can enter do.

    Of columns that depend linearly on each other the minimiser is not unique; the columns that
    enter first represent the others.

    Args:
        cross: (features, features), sums w x_i x_j, of centred columns if there is an intercept.
        xy: (features,), sums w x_j y.
        yy: sum w y^2.
        weight: sum w.
        alphas: (alphas,), above 0 and decreasing, since each solution starts the next.
        l1_ratio: from 0, ridge, to 1, the lasso.
        penalty_factor: (features,), at least 0; a column of factor 0 has no penalty; None: all 1.

    Returns:
        The coefficients, (alphas, features), and the duality gaps, (alphas,), of the objective.
        The objective at b is at most its gap above the minimum. A column without penalty enters
        the gap with |b_j slope_j|, which is rounding.

    >>> cross, xy = torch.eye(2).double() * 4, torch.tensor([4.0, 1.0]).double()
    >>> coefficients, gaps = elastic_net_path(cross, xy, 8.0, 4.0, torch.tensor([0.5, 0.125]))
    >>> coefficients
    tensor([[0.5000, 0.0000],
            [0.8750, 0.1250]], dtype=torch.float64)
    >>> gaps.tolist()
    [0.0, 0.0]
    """
    factor = torch.ones_like(xy) if penalty_factor is None else penalty_factor.to(xy)
    penalties = alphas.to(xy)[:, None] * factor
    l1, l2 = penalties * l1_ratio, penalties * (1 - l1_ratio)
    cross, xy, yy = cross / weight, xy / weight, yy / weight
    active_set = _ActiveSet(cross, xy, yy)
    coefficients = torch.stack([active_set.minimise(l1[k], l2[k]) for k in range(len(l1))])
    return coefficients, duality_gaps(cross, xy, yy, l1, l2, coefficients)


def duality_gaps(cross: Tensor, xy: Tensor, yy: float, l1: Tensor, l2: Tensor, b: Tensor) -> Tensor:
    """Return by how much, at most, the objective at b is above its minimum.

    The objective is (yy - 2 xy'b + b'cross b) / 2 + sum(l1 |b|) + sum(l2 b^2) / 2; l1, l2 and b
    are (alphas, features), the gaps (alphas,). With the penalty l2 as rows of x, whose y is 0, and
    r = y - x b, any s with |s x_j'r| <= l1_j makes s r a point of the dual problem, of the value
    s y'r - s^2 r'r / 2; s is the largest up to 1.
    """
    slope = b @ cross + l2 * b - xy
    bounded = l1 > 0
    excess = (slope.abs() / l1).where(bounded, 0).amax(1)
    shrink = 1 - 1 / excess.clamp(min=1)  # 1 - s
    gap = torch.where(bounded, b * slope + l1 * b.abs(), (b * slope).abs()).sum(1)
    residual_y = yy - b @ xy  # y'r
    residual = residual_y + (b * slope).sum(1)  # r'r
    return (gap + shrink * (residual_y - (1 - shrink / 2) * residual)).clamp(min=0)


class _ActiveSet:
    """The coefficients, the columns that are not 0, and a factor of their cross-products."""

    def __init__(self, cross: Tensor, xy: Tensor, yy: float):
        self.cross, self.xy, self.yy = cross, xy, yy
        self.norm = cross.diagonal().clamp(min=0).sqrt()
        self.b = torch.zeros_like(xy)
        self.slope = -xy  # of the smooth part of the objective
        self.active = torch.empty(0, dtype=torch.long)
        self.sign = torch.empty(0, dtype=xy.dtype)  # of the active columns; 0 without a penalty
        self.factored = self.active  # the columns of `upper`, in its order
        self.upper = cross.new_empty(0, 0)  # upper' upper = cross + l2 of these columns
        self.l1 = self.l2 = torch.zeros_like(xy)

    def minimise(self, l1: Tensor, l2: Tensor) -> Tensor:
        """Return the minimiser under sum(l1 |b|) + sum(l2 b^2) / 2, starting from the last one."""
        if not torch.equal(l2, self.l2):
            self.factored, self.upper = self.active[:0], self.upper[:0, :0]
            self.slope = self.slope + (l2 - self.l2) * self.b
        self.l1, self.l2 = l1, l2
        may_enter = torch.ones_like(self.b, dtype=torch.bool)
        lowest = math.inf
        entering = self.active[:0]
        for _ in range(100 + 10 * len(self.b)):  # a handful, unless rounding leads in circles
            dependent = self._factor()
            if dependent is not None and dependent in entering[:1]:
                may_enter[dependent] = False
                if self._exchange(dependent):
                    continue
            elif not self._step():
                continue
            value = self._objective(self.b, self.slope)
            if value >= lowest:  # by rounding, since the objective falls
                may_enter[entering] = False
            lowest = min(value, lowest)
            entering = self._violators(may_enter)
            if not len(entering):
                break
            self._activate(entering)
        return self.b.clone()

    def _slope_at(self, b: Tensor) -> Tensor:
        return self.cross @ b + self.l2 * b - self.xy

    def _objective(self, b: Tensor, slope: Tensor) -> float:
        """Return the objective, less that of b = 0."""
        return float(b @ (slope - self.xy) / 2 + self.l1 @ b.abs())

    def _activate(self, columns: Tensor) -> None:
        sign = -self.slope[columns].sign() * (self.l1[columns] > 0)
        self.active = torch.cat([self.active, columns])
        self.sign = torch.cat([self.sign, sign])

    def _violators(self, may_enter: Tensor) -> Tensor:
        """Return the columns at 0 that lower the objective, those first that do it most."""
        size = self.b.abs() @ self.norm + math.sqrt(max(self.yy, 0.0))
        rounding = 8 * _EPS * size * self.norm
        excess = self.slope.abs() - self.l1 - rounding
        excess = excess.where(may_enter, -1.0)
        excess[self.active] = -1.0
        columns = (excess > 0).nonzero()[:, 0]
        if len(columns) > 1:
            columns = columns[(excess / self.norm)[columns].argsort(descending=True)]
        return columns

    def _factor(self) -> int | None:
        """Factor the active columns; return the first that depends on those before it.

        That column leaves, and so do those after it, which enter again if they lower the objective.
        """
        if self.active is self.factored:
            return None
        shared = min(len(self.active), len(self.factored))
        differ = (self.active[:shared] != self.factored[:shared]).nonzero()
        kept = int(differ[0]) if len(differ) else shared
        old, new = self.active[:kept], self.active[kept:]
        upper = self.upper[:kept, :kept]
        dependent = None
        if len(new):
            rows = self.cross[new]
            side = torch.linalg.solve_triangular(upper.mT, rows[:, old].mT, upper=False)
            block = rows[:, new] + self.l2[new].diag()
            factor, failed = torch.linalg.cholesky_ex(block - side.mT @ side, upper=True)
            count = int(failed) - 1 if failed else len(new)
            side, factor = side[:, :count], factor[:count, :count].triu()
            count = self._independent(upper, side, factor, old, new[:count])
            grown = upper.new_zeros(kept + count, kept + count)
            grown[:kept, :kept] = upper
            grown[:kept, kept:] = side[:, :count]
            grown[kept:, kept:] = factor[:count, :count]
            upper = grown
            if count < len(new):
                dependent = int(new[count])
                self._drop(self.active[kept + count :])
        self.factored, self.upper = self.active, upper.contiguous()
        return dependent

    def _independent(
        self, upper: Tensor, side: Tensor, factor: Tensor, old: Tensor, new: Tensor
    ) -> int:
        """Return how many of the new columns come before the first that depends on others.

        With U the factor of all and D the lengths of the columns, a change of D_i D_j e in the
        cross-products moves the square of pivot j by up to e |D U^-1|_j^2 of it, where |.|_j is the
        sum of absolute values in column j. A column depends if e of rounding may leave nothing.
        """
        inverse = torch.linalg.solve_triangular(
            factor, torch.eye(len(new), dtype=factor.dtype), upper=True
        )
        above = torch.linalg.solve_triangular(upper, side @ inverse, upper=True)
        size = self.norm[old] @ above.abs() + self.norm[new] @ inverse.abs()
        rounding = _EPS * (16 + len(old) + len(new))
        dependent = (~(rounding * size**2 < 1)).nonzero()
        return int(dependent[0]) if len(dependent) else len(new)

    def _drop(self, columns: Tensor) -> None:
        stays = ~torch.isin(self.active, columns)
        self.active, self.sign = self.active[stays], self.sign[stays]
        if self.b[columns].any():
            self.b[columns] = 0
            self.slope = self._slope_at(self.b)

    def _solve(self, right: Tensor) -> Tensor:
        half = torch.linalg.solve_triangular(self.upper.mT, right[:, None], upper=False)
        solution: Tensor = torch.linalg.solve_triangular(self.upper, half, upper=True)
        return solution[:, 0]

    def _step(self) -> bool:
        """Go to the minimum for the given signs, or towards it; return whether it is reached."""
        active, sign = self.active, self.sign
        target = torch.zeros_like(self.b)
        target[active] = self._solve(self.xy[active] - self.l1[active] * sign)
        wrong = active[sign * target[active] < 0]
        if not len(wrong):
            self.b, self.slope = target, self._slope_at(target)
            return True
        clipped = target.clone()
        clipped[wrong] = 0
        slope = self._slope_at(clipped)
        if self._objective(clipped, slope) >= self._objective(self.b, self.slope):
            # Stop where the first coefficient reaches 0.
            share = self.b[wrong] / (self.b - target)[wrong]
            wrong = wrong[share == share.min()]
            clipped = self.b + share.min() * (target - self.b)
            clipped[wrong] = 0
            slope = self._slope_at(clipped)
        self.b, self.slope = clipped, slope
        self._drop(wrong)
        return False

    def _exchange(self, column: int) -> bool:
        """Let the column replace an active one, along combinations that leave x b as it is."""
        sign = -self.slope[column].sign()
        change = -self._solve(self.cross[self.active, column]) * sign
        shrinks = self.sign * change < 0
        if not shrinks.any():
            return False
        share = (self.b[self.active] / change).abs().where(shrinks, math.inf)
        size, place = share.min(dim=0)
        self.b[self.active] += size * change
        self.b[column] = size * sign
        leaving = self.active[place]
        self.b[leaving] = 0
        self.slope = self._slope_at(self.b)
        self._drop(leaving[None])
        self._activate(torch.tensor([column]))
        self.sign[-1] = sign * (self.l1[column] > 0)
        return True
