"""Inverses of cross-products of a few columns, which enter and leave, for several problems."""

import torch
from torch import Tensor

_EPS = torch.finfo(torch.float64).eps
_DELICATE = 2.0**-26  # the share of a pivot that may be lost before updates lose too many digits


class ActiveInverses:
    """For each problem, the inverse of A + l2 restricted to the columns that have entered.

    `column` says which column has which place. With a Cholesky factor C of the columns at the time
    of `refresh`, the inverse is (C C')^-1 + U' S U at the places taken and 0 at the others: since
    then, each column that has entered has added a row to U and a 1 to the diagonal matrix S, and
    each column that has left a row and a -1. This is block elimination. With B the inverse before
    and a the columns in it, columns n that enter add (B A_an, -1)' M^-1 (B A_an, -1) with
    M = A_nn + l2 - A_na B A_an, and columns d that leave subtract B_.d B_dd^-1 B_d., which makes
    their rows 0.
    """

    def __init__(self, cross: Tensor, gram: Tensor):
        count = len(gram)
        self.cross, self.gram = cross, gram  # (grams, features, features), (problems,)
        self.norm = cross.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()[gram]
        self.l2 = cross.new_zeros(count, 1)
        # Problems with columns that are nearly dependent, whose updates lose too many digits.
        self.delicate = torch.zeros(count, dtype=torch.bool)
        self.column = torch.zeros(count, 0, dtype=torch.long)  # (problems, places)
        self.taken = torch.zeros(count, 0, dtype=torch.bool)
        self.used = self.taken  # places of columns in `factor` or `update`
        self.factored = self.taken  # places of columns in `factor`, which has 1s at the others
        self.factor = cross.new_zeros(count, 0, 0)
        self.update = cross.new_zeros(count, 0, 0)  # U, (problems, updates, places)
        self.update_sign = cross.new_zeros(0)  # S

    def solve(self, right: Tensor) -> Tensor:
        """Return the solution for `right` at the columns that have entered, 0 at the others."""
        at_places = right.gather(1, self.column) * self.taken
        solution = self._multiply(at_places[:, :, None])[:, :, 0]
        return torch.zeros_like(right).scatter_add_(1, self.column, solution)

    def _multiply(self, right: Tensor) -> Tensor:
        """Return the inverse times `right`, (problems, places, vectors); 0 at free places."""
        factored = right * self.factored[:, :, None]
        half = torch.linalg.solve_triangular(self.factor, factored, upper=False)
        product: Tensor = torch.linalg.solve_triangular(self.factor.mT, half, upper=True)
        if len(self.update_sign):
            product += self.update.mT @ (self.update_sign[:, None] * (self.update @ right))
            product *= self.taken[:, :, None]
        return product

    def _entries(self, problems: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return entries of A of some problems, (problems, rows, columns)."""
        chosen = self.cross[self.gram[problems, None], rows]
        return chosen.gather(2, columns[:, None, :].expand(-1, rows.shape[1], -1))

    def refresh(self, problems: Tensor, l2: Tensor) -> Tensor:
        """Factor the columns of some problems anew; return the problems with dependent columns."""
        is_all = len(problems) == len(self.gram)
        if is_all:  # use no more places than needed
            places = self.taken.long().topk(int(self.taken.sum(1).max())).indices
            self.column, self.taken = self.column.gather(1, places), self.taken.gather(1, places)
        column, taken = self.column[problems], self.taken[problems]
        matrix = self._entries(problems, column, column)
        if not bool(taken.all()):
            matrix.masked_fill_(~taken[:, :, None], 0.0).masked_fill_(~taken[:, None, :], 0.0)
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        diagonal += torch.where(taken, l2[problems], 1.0)
        smallest = _EPS * (4 + column.shape[1] / 4) * diagonal
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if is_all:
            self.factor, self.factored, self.used, self.l2 = factor, taken, taken, l2
            self.update, self.update_sign = factor[:, :0], self.update_sign[:0]
        else:
            self.factor[problems] = factor
            self.factored = self.factored.index_copy(0, problems, taken)
            self.used = self.used.index_copy(0, problems, taken)
            self.l2 = self.l2.index_copy(0, problems, l2[problems])
            self.update[problems] = 0.0
        pivots = factor.diagonal(dim1=1, dim2=2).square()
        dependent: Tensor = problems[(failed > 0) | (pivots <= smallest).any(1)]
        return dependent

    def is_long(self) -> bool:
        """Return whether a new factor takes less time than the updates."""
        return len(self.update_sign) > 16 + self.column.shape[1] // 8

    def clear(self, problems: Tensor) -> None:
        """Let all columns of some problems leave."""
        self.taken = self.taken.index_fill(0, problems, False)
        self.factored = self.factored.index_fill(0, problems, False)
        self.used = self.used.index_fill(0, problems, False)
        self.factor[problems] = torch.eye(self.factor.shape[1], dtype=self.factor.dtype)
        self.update[problems] = 0.0

    def leave(self, leaving: Tensor) -> None:
        """Let columns leave, (problems, features)."""
        freed = self.taken & leaving.gather(1, self.column)
        count = int(freed.sum(1).max())
        if not count:
            return
        valid, places = freed.long().topk(count)
        unit = torch.zeros(*freed.shape, count, dtype=self.factor.dtype)
        unit.scatter_(1, places[:, None, :], valid.to(unit)[:, None, :])
        rows = self._multiply(unit).mT
        corner = rows.gather(2, places[:, None, :].expand(-1, count, -1))
        factor, _ = torch.linalg.cholesky_ex(_with_identity(corner, valid.bool()))
        self._append(torch.linalg.solve_triangular(factor, rows, upper=False), -1.0)
        self.taken = self.taken & ~freed

    def _append(self, rows: Tensor, sign: float) -> None:
        self.update = torch.cat((self.update, rows), 1)
        signs = self.update_sign.new_full((rows.shape[1],), sign)
        self.update_sign = torch.cat((self.update_sign, signs))

    def enter(self, new: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Let columns enter in order, up to the first that depends on the columns before it.

        With F F' = A + l2 of all columns and D their lengths, a change of A_ij by D_i D_j e changes
        the square of pivot j by up to a share e |F^-1 D|_j^2 of it, where |.|_j is the sum of
        absolute values in row j. A column is dependent if the rounding error e may leave nothing.

        Args:
            new: the columns of each problem, (problems, columns).
            valid: which of them shall enter, (problems, columns).

        Returns:
            Which have entered, (problems, columns), and the combination of the columns active
            before that is nearest to the first new column, (problems, features).
        """
        count, problems = new.shape[1], torch.arange(len(new))
        self._make_room(valid.sum(1))
        side = self._entries(problems, new, self.column) * self.taken[:, None, :]
        above = self._multiply(side.mT).mT
        block = self._entries(problems, new, new)
        block.diagonal(dim1=1, dim2=2).add_(self.l2)
        factor, failed = torch.linalg.cholesky_ex(_with_identity(block - above @ side.mT, valid))
        valid = valid & (torch.arange(count) < torch.where(failed > 0, failed - 1, count)[:, None])
        factor = _with_identity(factor.tril(), valid)
        inverse = torch.linalg.solve_triangular(factor, torch.eye(count).to(factor), upper=False)
        whitened = inverse @ above
        size = _product(whitened.abs(), self.norm.gather(1, self.column))
        size += _product(inverse.abs(), self.norm.gather(1, new))
        rounding = _EPS * (16 + self.taken.sum(1, keepdim=True) + count)
        lost = rounding * size**2
        self.delicate = self.delicate | (valid & ~(lost < _DELICATE)).any(1) | (failed > 0)
        valid = (valid & (lost < 1)).long().cumprod(1).bool()
        places = self.used.long().topk(count, largest=False).indices
        rows = whitened * valid[:, :, None]
        new_entries = inverse * -valid.to(inverse)[:, :, None]
        rows.scatter_add_(2, places[:, None, :].expand(-1, count, -1), new_entries)
        combination = torch.zeros_like(self.norm).scatter_add_(1, self.column, above[:, 0])
        self._append(rows, 1.0)
        columns = new.where(valid, self.column.gather(1, places))
        self.column = self.column.scatter(1, places, columns)
        self.taken = self.taken.scatter(1, places, valid | self.taken.gather(1, places))
        self.used = self.used | self.taken
        return valid, combination

    def _make_room(self, count: Tensor) -> None:
        """Add places until `count`, (problems,), are free."""
        places, pad = self.column.shape[1], torch.nn.functional.pad
        missing = int((self.used.sum(1) + count).max()) - places
        if missing <= 0:
            return
        right = 0, max(missing, 4 + places // 8)
        self.column, self.update = pad(self.column, right), pad(self.update, right)
        self.taken, self.used = pad(self.taken, right), pad(self.used, right)
        self.factored = pad(self.factored, right)
        self.factor = pad(self.factor, right + right)
        self.factor.diagonal(dim1=1, dim2=2)[:, places:] = 1.0


def _product(matrix: Tensor, vector: Tensor) -> Tensor:
    product: Tensor = (matrix @ vector[:, :, None])[:, :, 0]
    return product


def _with_identity(matrix: Tensor, valid: Tensor) -> Tensor:
    """Replace rows and columns that are not valid by those of the identity."""
    inside = valid[:, :, None] & valid[:, None, :]
    return torch.where(inside, matrix, torch.eye(valid.shape[1], dtype=matrix.dtype))
