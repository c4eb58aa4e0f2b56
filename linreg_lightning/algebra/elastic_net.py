"""Paths of the lasso and the elastic net from cross-products, by an exact active-set method."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from linreg_lightning.algebra.active_inverses import ActiveInverses

_EPS = torch.finfo(torch.float64).eps
_BLOCK_NUMBERS = 2**18  # of the cross-products of problems that are solved together
_MAX_CORRECTIONS = 4  # of one solution, until only rounding errors of its slopes are left


def elastic_net_paths(
    cross: Sequence[Tensor],
    xy: Tensor,
    square: Tensor,
    l1: Tensor,
    l2: Tensor,
    progress: Callable[[float], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Minimise the elastic net for several penalties in each of several problems.

    With A = `cross`, h = `xy`, m = `square` and the penalties l1 and l2, the objective is

        b'A b / 2 - h'b + m / 2 + l1 sum_j |b_j| + l2/2 sum_j b_j^2

    On the columns whose b_j is not 0, and as long as no sign changes, this is a quadratic function.
    A step goes to its minimum by the inverse of its cross-products, which is updated when columns
    enter or leave. A coefficient that would change its sign becomes 0 and leaves; a column at 0
    whose slope exceeds l1 enters. The objective falls until no column can enter; the last step
    solves the normal equations of the columns left, so that no tolerance stops it early, and the
    others are exactly 0. Lee, Battle, Raina and Ng, Efficient sparse coding algorithms (2006), add
    one column at a time in this way; here all that can enter do. Each problem takes its own steps,
    and one operation on tensors does those of many problems.

    Of columns that depend linearly on each other the minimiser is not unique; the columns that
    enter first represent the others.

    Args:
        cross: (features, features), symmetric, for each of some Grams.
        xy: (grams, problems, features), several problems for each Gram.
        square: (grams, problems).
        l1: (grams, problems, penalties), above 0, or 0 where `xy` is 0; each solution starts the
            next, so penalties that decrease are fastest.
        l2: (grams, problems, penalties), at least 0.
        progress: called with the share of the penalties, of all problems, that are done.

    Returns:
        The coefficients, (grams, problems, penalties, features), and the duality gaps, (grams,
        problems, penalties). The objective at b is at most its gap above the minimum.

    >>> xy, square = torch.tensor([[[1.0, 0.25]]]).double(), torch.tensor([[2.0]]).double()
    >>> l1 = torch.tensor([[[0.5, 0.125]]]).double()
    >>> coefficients, gaps = elastic_net_paths([torch.eye(2).double()], xy, square, l1, 0 * l1)
    >>> coefficients[0, 0]
    tensor([[0.5000, 0.0000],
            [0.8750, 0.1250]], dtype=torch.float64)
    """
    coefficients, gaps = l1.new_zeros(*l1.shape, xy.shape[-1]), torch.zeros_like(l1)
    before = 0  # penalties of the blocks that are done

    def report(done: int) -> None:
        if progress:
            progress((before + done) / l1.numel())

    for block, block_cross in _blocks(cross, *xy.shape):
        terms = block_cross, xy[block], square[block], l1[block], l2[block]
        coefficients[block] = b = _ActiveSets(*terms).paths(report)
        gaps[block] = duality_gaps(*terms, b)
        before += gaps[block].numel()
    return coefficients, gaps


def _blocks(
    cross: Sequence[Tensor], grams: int, problems: int, features: int
) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
    """Return which Grams and which of their problems are solved together, and these Grams."""
    size = max(1, _BLOCK_NUMBERS // max(1, features**2))  # problems in a block
    step = max(1, size // max(1, problems))
    for gram in range(0, grams, step):
        matrices = cross[gram : gram + step]
        block = matrices[0][None] if len(matrices) == 1 else torch.stack(list(matrices))
        for problem in range(0, problems, size):
            yield (slice(gram, gram + step), slice(problem, problem + size)), block


def duality_gaps(
    cross: Tensor, xy: Tensor, square: Tensor, l1: Tensor, l2: Tensor, b: Tensor
) -> Tensor:
    """Return by how much, at most, the objective at b is above its minimum.

    Shapes are those of `elastic_net_paths`, with all A in one tensor. With the penalty l2 as rows
    of x, whose y is 0, and r = y - x b, any s with |s x_j'r| <= l1 makes s r a point of the dual
    problem, of the value s y'r - s^2 r'r / 2; s is the largest up to 1.
    """
    slope = (b.flatten(1, 2) @ cross).view_as(b) + l2[..., None] * b - xy[:, :, None]
    excess = torch.where(l1 > 0, slope.abs().amax(-1) / l1, 1.0)
    shrink = 1 - 1 / excess.clamp(min=1)  # 1 - s
    gap = (b * slope).sum(-1) + l1 * b.abs().sum(-1)
    residual_y = square[..., None] - (b @ xy[..., None])[..., 0]  # y'r
    residual = residual_y + (b * slope).sum(-1)  # r'r
    return (gap + shrink * (residual_y - (1 - shrink / 2) * residual)).clamp(min=0)


class _ActiveSets:
    """The coefficients of several problems, and their active columns."""

    def __init__(self, cross: Tensor, xy: Tensor, square: Tensor, l1: Tensor, l2: Tensor):
        self.shape = xy.shape
        grams, problems, features = xy.shape
        count = grams * problems
        self.cross = cross
        self.xy = xy.reshape(count, features)
        self.length = square.reshape(count, 1).clamp(min=0).sqrt()  # of the target
        self.l1, self.l2 = l1.reshape(count, -1), l2.reshape(count, -1)
        self.inverses = ActiveInverses(cross, torch.arange(grams).repeat_interleave(problems))
        self.norm = self.inverses.norm
        self.b = torch.zeros_like(self.xy)
        self.slope = -self.xy  # of the smooth part of the objective
        self.active = torch.zeros_like(self.xy, dtype=torch.bool)
        self.may_enter = ~self.active
        self.entered = torch.zeros_like(self.active)  # since the last minimum for given signs
        self.sign = torch.zeros_like(self.xy)  # of the active columns, else 0
        self.value = torch.zeros(count, dtype=torch.float64)  # the objective, less that of b = 0
        self.lowest = torch.full((count,), math.inf, dtype=torch.float64)
        self.corrections = torch.zeros(count, dtype=torch.long)
        self.steps = torch.zeros(count, dtype=torch.long)  # taken for the present penalty
        self.number = torch.zeros(count, dtype=torch.long)  # of the present penalty
        self.penalty1, self.penalty2 = self.l1[:, :1], self.l2[:, :1]
        self.last_slope, self.last_penalty = self.slope, self.penalty1  # at the last minimum

    def paths(self, report: Callable[[int], None]) -> Tensor:
        """Return the minimisers, (grams, problems, penalties, features); report those done."""
        count, penalties = self.l1.shape
        paths = self.xy.new_zeros(count, penalties, self.xy.shape[1])
        most_steps = 100 + 10 * self.xy.shape[1]  # a handful, unless rounding leads in circles
        while bool((self.number < penalties).any()):
            at_rest, failed = self._move()
            excess, settled = self._excess(at_rest)
            self.steps += 1
            self._exclude_what_returns(settled)
            may_enter = torch.where(at_rest, settled, ~failed)[:, None] & self.may_enter
            excess = torch.where(may_enter & ~self.active, excess, -1.0)
            done = settled & (excess.amax(1) <= 0) | (self.steps > most_steps)
            if bool(done.any()):
                expected = self._next_penalty(done, paths)
                excess = torch.where(done[:, None], expected, excess)
                report(int(self.number.clamp(max=penalties).sum()))
            if bool(self.inverses.delicate.any()):
                self._refresh(self.inverses.delicate.nonzero()[:, 0])
            self._enter(excess, settled & ~done)
            if self.inverses.is_long():
                self._refresh(torch.arange(count))
            elif bool(self.inverses.delicate.any()):
                self._refresh(self.inverses.delicate.nonzero()[:, 0])
        return paths.view(*self.shape[:2], penalties, -1)

    def _move(self) -> tuple[Tensor, Tensor]:
        """Go to the minima for the given signs, or towards them.

        Return in which problems a minimum is reached, and in which the path ends before it at the
        first coefficient of 0.
        """
        target = self.b - self.inverses.solve(self.slope + self.penalty1 * self.sign)
        wrong = self.sign * target < 0
        at_rest = ~wrong.any(1)
        failed = torch.zeros_like(at_rest)
        if bool(at_rest.all()):
            self._go_to(target)
            return at_rest, failed
        start, value = self.b, self.value
        self._go_to(target.masked_fill(wrong, 0.0))
        failed = ~at_rest & (self.value >= value)
        if bool(failed.any()):
            share = (start / (start - target)).where(wrong, math.inf)
            smallest = share.amin(1, keepdim=True)
            first = wrong & (share == smallest)
            point = (start + smallest * (target - start)).masked_fill(first, 0.0)
            wrong = torch.where(failed[:, None], first, wrong)
            self._go_to(torch.where(failed[:, None], point, self.b))
        self._leave(wrong)
        return at_rest, failed

    def _go_to(self, b: Tensor) -> None:
        product = (self.cross @ b.view(self.shape).mT).mT.reshape(b.shape)
        self.b, self.slope = b, product + self.penalty2 * b - self.xy
        self.value = self._objective()

    def _objective(self) -> Tensor:
        smooth = (self.b * (self.slope - self.xy)).sum(1)
        return smooth / 2 + self.penalty1[:, 0] * self.b.abs().sum(1)

    def _excess(self, at_rest: Tensor) -> tuple[Tensor, Tensor]:
        """Return by how much slopes exceed the penalty, and which minima are exact to rounding."""
        size = (self.b.abs() * self.norm).sum(1, keepdim=True) + self.length
        rounding = 8 * _EPS * size * self.norm
        gradient = self.slope + self.penalty1 * self.sign
        inexact = at_rest & ((gradient.abs() > rounding) & self.active).any(1)
        settled = at_rest
        if bool(inexact.any()):
            settled = at_rest & ~(inexact & (self.corrections < _MAX_CORRECTIONS))
            self.corrections = torch.where(inexact & ~settled, self.corrections + 1, 0)
            again = (self.corrections == _MAX_CORRECTIONS // 2).nonzero()[:, 0]
            if len(again):
                self._refresh(again)
        return self.slope.abs() - self.penalty1 - rounding, settled

    def _exclude_what_returns(self, settled: Tensor) -> None:
        """Exclude columns by whose entering the objective, which should fall, does not fall."""
        stuck = settled & (self.value >= self.lowest)
        self.may_enter &= ~(stuck[:, None] & self.entered)
        self.lowest = torch.where(settled, torch.minimum(self.value, self.lowest), self.lowest)
        self.entered &= ~settled[:, None]

    def _next_penalty(self, done: Tensor, paths: Tensor) -> Tensor:
        """Go on to the next penalty; return by how much slopes will exceed it, if all goes on."""
        who = (done & (self.number < paths.shape[1])).nonzero()[:, 0]
        paths[who, self.number[who]] = self.b[who]
        self.number = self.number + done.long()
        number = self.number.clamp(max=paths.shape[1] - 1)[:, None]
        old1, old2 = self.penalty1, self.penalty2
        self.penalty1, self.penalty2 = self.l1.gather(1, number), self.l2.gather(1, number)
        done = done[:, None]
        change = self.slope - self.last_slope
        share = (self.penalty1 - old1) / (old1 - self.last_penalty)
        expected = self.slope + change * share
        expected = (expected * self.slope.sign() - self.penalty1).masked_fill(self.active, -1.0)
        expected = expected.where(share.isfinite() & (share > 0), -1.0)
        self.last_slope = torch.where(done, self.slope, self.last_slope)
        self.last_penalty = torch.where(done, old1, self.last_penalty)
        self.may_enter |= done
        self.entered &= ~done
        self.lowest = self.lowest.masked_fill(done[:, 0], math.inf)
        self.steps = self.steps.masked_fill(done[:, 0], 0)
        changed = (self.penalty2 != old2)[:, 0].nonzero()[:, 0]
        if len(changed):
            self.slope += (self.penalty2 - old2) * self.b
            self._refresh(changed)
        self.value = self._objective()
        return expected

    def _refresh(self, who: Tensor) -> None:
        """Factor the active columns of some problems anew; start anew if they are dependent."""
        dependent = self.inverses.refresh(who, self.penalty2)
        if len(dependent):
            self.inverses.clear(dependent)
            self.b[dependent] = self.sign[dependent] = 0.0
            self.slope[dependent] = -self.xy[dependent]
            self.active[dependent] = False
            self.value[dependent] = 0.0
            self.lowest[dependent] = math.inf

    def _leave(self, leaving: Tensor) -> None:
        self.active &= ~leaving
        self.sign.masked_fill_(leaving, 0.0)
        self.corrections.masked_fill_(leaving.any(1), 0)
        self.inverses.leave(leaving)

    def _enter(self, excess: Tensor, exchange: Tensor) -> None:
        """Let columns enter whose excess is above 0, those first that lower the objective most.

        In the problems `exchange` a column that depends on active ones replaces one of them.
        """
        count = int((excess > 0).sum(1).max())
        if not count:
            return
        score, new = torch.where(excess > 0, excess / self.norm, -1.0).topk(count)
        valid, combination = self.inverses.enter(new, score > 0)
        entering = torch.zeros_like(self.active).scatter_(1, new, valid)
        self.active |= entering
        self.entered |= entering
        self.sign = torch.where(entering, -self.slope.sign() * (self.penalty1 > 0), self.sign)
        self.corrections.masked_fill_(entering.any(1), 0)
        dependent = (score[:, 0] > 0) & ~valid[:, 0] & exchange
        for problem in dependent.nonzero()[:, 0].tolist():
            column = int(new[problem, 0])
            self.may_enter[problem, column] = False
            self._exchange(problem, column, combination[problem])

    def _exchange(self, problem: int, column: int, combination: Tensor) -> None:
        """Let the column replace an active one, along combinations that leave x b as it is."""
        sign = -self.slope[problem, column].sign()
        b, change = self.b[problem], -combination * sign
        shrinks = self.sign[problem] * change < 0
        if not bool(shrinks.any()):
            return
        share = (b / change).abs().where(shrinks, math.inf)
        size, place = share.min(dim=0)
        b += size * change
        b[column], b[place] = size * sign, 0.0
        leaving = torch.zeros_like(self.active)
        leaving[problem, place] = True
        self._leave(leaving)
        excess = torch.full_like(self.b, -1.0)
        excess[problem, column] = 1.0
        self._enter(excess, torch.zeros(len(excess), dtype=torch.bool))
        if not bool(self.active[problem, column]):
            b[column] = 0.0
        self._go_to(self.b)
