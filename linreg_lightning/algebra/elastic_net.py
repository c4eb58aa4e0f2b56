"""Paths of the lasso and the elastic net from cross-products, by an exact active-set method."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from linreg_lightning.algebra.active_inverses import ActiveInverses

_EPS = torch.finfo(torch.float64).eps
_BLOCK_NUMBERS = 2**18  # in the cross-products of the problems that are solved together
_MAX_CORRECTIONS = 4  # steps that make the slopes of one solution exact to rounding errors


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
    one column at a time in this way; here all columns enter that can. Each problem takes its own
    steps, and one operation on tensors takes those of many problems.

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
    if not xy.shape[-1]:
        return coefficients, gaps
    done = 0
    for block, matrices in _blocks(cross, *xy.shape):
        terms = matrices, xy[block], square[block], l1[block], l2[block]
        coefficients[block] = b = _ActiveSets(*terms).paths()
        gaps[block] = duality_gaps(*terms, b)
        done += gaps[block].numel()
        if progress:
            progress(done / gaps.numel())
    return coefficients, gaps


def _blocks(
    cross: Sequence[Tensor], grams: int, problems: int, features: int
) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
    """Return which Grams and which of their problems are solved together, and these Grams."""
    size = max(1, _BLOCK_NUMBERS // features**2)  # problems in a block
    step = max(1, size // max(1, problems))
    for gram in range(0, grams, step):
        part = cross[gram : gram + step]
        matrices = part[0][None] if len(part) == 1 else torch.stack(list(part))
        for problem in range(0, problems, size):
            yield (slice(gram, gram + step), slice(problem, problem + size)), matrices


def duality_gaps(
    cross: Tensor, xy: Tensor, square: Tensor, l1: Tensor, l2: Tensor, b: Tensor
) -> Tensor:
    """Return upper bounds on how far the objective at b is above its minimum.

    Shapes are those of `elastic_net_paths`, with all A in one tensor. The penalty l2 is the same as
    further rows of x whose y is 0. With these and r = y - x b, s r is a point of the dual problem
    for each s with |s x_j'r| <= l1 for all j, and has the value s y'r - s^2 r'r / 2 there. Here s
    is the largest such number up to 1.
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
        # The least value at a minimum for given signs, of the present penalty.
        self.lowest = torch.full((count,), math.inf, dtype=torch.float64)
        self.corrections = torch.zeros(count, dtype=torch.long)
        self.steps = torch.zeros(count, dtype=torch.long)  # taken for the present penalty
        self.penalty_number = torch.zeros(count, dtype=torch.long)
        self.penalty1, self.penalty2 = self.l1[:, :1], self.l2[:, :1]
        self.last_slope, self.last_penalty = self.slope, self.penalty1  # at the last minimum

    def paths(self) -> Tensor:
        """Return the minimisers, (grams, problems, penalties, features)."""
        count, penalties = self.l1.shape
        paths = self.xy.new_zeros(count, penalties, self.xy.shape[1])
        max_steps = 100 + 10 * self.xy.shape[1]  # reached only if rounding leads in circles
        while bool((self.penalty_number < penalties).any()):
            at_rest, shortened = self._move()
            excess, settled = self._excess(at_rest)
            self.steps += 1
            self._exclude_stuck_columns(settled)
            may_enter = torch.where(at_rest, settled, ~shortened)[:, None] & self.may_enter
            excess = torch.where(may_enter & ~self.active, excess, -1.0)
            done = settled & (excess.amax(1) <= 0) | (self.steps > max_steps)
            if bool(done.any()):
                expected = self._next_penalty(done, paths)
                excess = torch.where(done[:, None], expected, excess)
            self._refresh(self.inverses.delicate.nonzero()[:, 0])
            self._enter(excess, settled & ~done)
            delicate = self.inverses.delicate.nonzero()[:, 0]
            self._refresh(torch.arange(count) if self.inverses.is_long() else delicate)
        return paths.view(*self.shape[:2], penalties, -1)

    def _move(self) -> tuple[Tensor, Tensor]:
        """Go to the minima for the given signs, or towards them.

        Return in which problems the minimum is reached, and in which the step is shortened: it ends
        where the first coefficient becomes 0.
        """
        target = self.b - self.inverses.solve(self.slope + self.penalty1 * self.sign)
        wrong = self.sign * target < 0
        at_rest = ~wrong.any(1)
        if bool(at_rest.all()):
            self._go_to(target)
            return at_rest, ~at_rest
        start, value = self.b, self.value
        self._go_to(target.masked_fill(wrong, 0.0))
        shortened = ~at_rest & (self.value >= value)
        if bool(shortened.any()):
            share = (start / (start - target)).where(wrong, math.inf)
            smallest = share.amin(1, keepdim=True)
            first = wrong & (share == smallest)
            point = (start + smallest * (target - start)).masked_fill(first, 0.0)
            wrong = torch.where(shortened[:, None], first, wrong)
            self._go_to(torch.where(shortened[:, None], point, self.b))
        self._leave(wrong)
        return at_rest, shortened

    def _go_to(self, b: Tensor) -> None:
        product = (self.cross @ b.view(self.shape).mT).mT.reshape(b.shape)
        self.b, self.slope = b, product + self.penalty2 * b - self.xy
        self.value = self._objective()

    def _objective(self) -> Tensor:
        smooth = (self.b * (self.slope - self.xy)).sum(1)
        return smooth / 2 + self.penalty1[:, 0] * self.b.abs().sum(1)

    def _excess(self, at_rest: Tensor) -> tuple[Tensor, Tensor]:
        """Return by how much slopes exceed the penalty, and which minima need no correction."""
        size = (self.b.abs() * self.norm).sum(1, keepdim=True) + self.length
        rounding = 8 * _EPS * size * self.norm
        gradient = self.slope + self.penalty1 * self.sign
        inexact = at_rest & ((gradient.abs() > rounding) & self.active).any(1)
        settled = at_rest
        if bool(inexact.any()):
            settled = at_rest & ~(inexact & (self.corrections < _MAX_CORRECTIONS))
            self.corrections = torch.where(inexact & ~settled, self.corrections + 1, 0)
            # Where the first corrections do not suffice, updates have cost the inverse its digits.
            self._refresh((self.corrections == _MAX_CORRECTIONS // 2).nonzero()[:, 0])
        return self.slope.abs() - self.penalty1 - rounding, settled

    def _exclude_stuck_columns(self, settled: Tensor) -> None:
        """Exclude the columns that have entered where the objective has not fallen since then."""
        stuck = settled & (self.value >= self.lowest)
        self.may_enter &= ~(stuck[:, None] & self.entered)
        self.lowest = torch.where(settled, torch.minimum(self.value, self.lowest), self.lowest)
        self.entered &= ~settled[:, None]

    def _next_penalty(self, done: Tensor, paths: Tensor) -> Tensor:
        """Go on to the next penalty where `done`; return by how much slopes may exceed it.

        The estimate: slopes change with the penalty as they did between the last two penalties.
        """
        problems = (done & (self.penalty_number < paths.shape[1])).nonzero()[:, 0]
        paths[problems, self.penalty_number[problems]] = self.b[problems]
        self.penalty_number = self.penalty_number + done.long()
        number = self.penalty_number.clamp(max=paths.shape[1] - 1)[:, None]
        old1, old2 = self.penalty1, self.penalty2
        self.penalty1, self.penalty2 = self.l1.gather(1, number), self.l2.gather(1, number)
        done = done[:, None]
        share = (self.penalty1 - old1) / (old1 - self.last_penalty)
        expected = self.slope + (self.slope - self.last_slope) * share
        expected = (expected * self.slope.sign() - self.penalty1).masked_fill(self.active, -1.0)
        expected = expected.where(share.isfinite() & (share > 0), -1.0)
        self.last_slope = torch.where(done, self.slope, self.last_slope)
        self.last_penalty = torch.where(done, old1, self.last_penalty)
        self.may_enter |= done
        self.entered &= ~done
        self.lowest = self.lowest.masked_fill(done[:, 0], math.inf)
        self.steps = self.steps.masked_fill(done[:, 0], 0)
        self.slope = self.slope + (self.penalty2 - old2) * self.b
        self._refresh((self.penalty2 != old2)[:, 0].nonzero()[:, 0])
        self.value = self._objective()
        return expected

    def _refresh(self, problems: Tensor) -> None:
        """Factor the active columns of some problems anew; start anew if they are dependent."""
        if not len(problems):
            return
        dependent = self.inverses.refresh(problems, self.penalty2)
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
        """Let columns enter whose excess is above 0, first those that lower the objective most.

        In the problems of `exchange`, a column that depends on active ones replaces one of them.
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
