"""Products of rows without rounding, as machine code that numba compiles (extra `fast`).

The sums are those of `gram_exact`: entries are cut into slices of 22 bits, and products of slices
are added as whole numbers. Here a block of rows is scaled, cut and multiplied while the cache of
the processor holds it. An entry with bits below its last slice costs a slice of its own, and not
one for all rows.

Only this file imports numba, so that the package works without it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_BASE = 2.0**22
_MAX_FIRST = 2.0**21  # entries in units of their column are smaller
_ROUND = 1.5 * 2.0**52  # added to a number below 2^51 and subtracted, it rounds to a whole number
_SPLITTER = 2.0**27 + 1.0
# Sums of three products below 2^42 over this many rows stay below 2^53.
BLOCK_ROWS = 512

_compiled = njit(nogil=True, cache=True, error_model="numpy")
# Sums of whole numbers below 2^53 are the same in any order.
_compiled_in_any_order = njit(nogil=True, cache=True, fastmath=True)


@_compiled
def add_rows(x, y, weight, unit, weight_unit, depth, left_depth, apart, digits):
    """Add rows to the digits until a block has an entry that does not fit the units.

    Args:
        x: (rows, features), float32 or float64.
        y: (rows, targets), likewise.
        weight: (rows,) float64, or empty: all are 1.
        unit: 1 / the unit of each of [1, x, y], float64, followed by 0 or 1 entry of 0, so that
            the count is even; (columns,).
        weight_unit: what the weights are multiplied by, for results below 1.
        depth: of the slices of z, 2 or a multiple of 2 or 3.
        left_depth: of the slices of w z, a multiple of the same number.
        apart: (rows,) bool, set for rows that have bits left; they are not added.
        digits: (depth + left_depth + 1, columns, columns) int64; sums are added to entries on and
            above the diagonal.

    Returns:
        How many rows were added or set apart; and how many entries cost a slice of their own.
    """
    rows, columns = x.shape[0], unit.shape[0]
    weighted = weight.shape[0] > 0
    size = min(rows, BLOCK_ROWS)
    stride = size + 8  # columns that are a power of two apart would share lines of the cache
    right = np.zeros((depth + 1, columns, stride))  # the last slice is the entry's own
    left = np.zeros((left_depth, columns, stride)) if weighted else right
    own = np.zeros(columns, np.bool_)  # whether an entry of the column has a slice of its own
    entries = 0
    for start in range(0, rows, BLOCK_ROWS):
        block = slice(start, min(start + BLOCK_ROWS, rows))
        if block.stop - start < size:
            right[:, :, :] = 0.0
            left[:, :, :] = 0.0
        if not _cut_block(
            x[block], y[block], weight[block], unit, weight_unit, left, right, own, apart[block]
        ):
            return start, entries
        n = block.stop - start
        step = 3 if depth % 3 == 0 else 2
        for a in range(0, left_depth, step):
            for b in range(0, depth, step):
                if step == 3:
                    _add_products_of_3(left, a, right, b, digits, n)
                else:
                    _add_products_of_2(left, a, right, b, digits, n)
        for j in range(columns):
            if own[j]:
                entries += _add_own(left, right, own, j, n, weighted, digits)
    return rows, entries


@_compiled
def _cut_block(x, y, weight, unit, weight_unit, left, right, own, apart):
    """Cut a block of rows into `left` and `right`; return False if an entry does not fit."""
    n, features = x.shape
    weighted = weight.shape[0] > 0
    rest, low, scaled_weight = np.empty(n), np.empty(n), np.empty(n)
    right[0, 0, :n] = 1.0
    _copy(x, right[0, 1:])
    _copy(y, right[0, 1 + features :])
    if weighted:
        for r in range(n):
            scaled_weight[r] = weight[r] * weight_unit
            if not scaled_weight[r] < 1.0:
                return False
            if weight[r] == 0.0:
                right[0, :, r] = 0.0
    for j in range(1 + features + y.shape[1]):
        values = right[0, j]
        if not _scale(values, n, unit[j], apart):
            return False
        if weighted:
            _cut_products(left, j, n, values, scaled_weight, rest, low, apart)
        own[j] = _cut(right, j, n, rest, apart)
    for r in range(n):
        if apart[r]:
            right[:, :, r] = 0.0
            left[:, :, r] = 0.0
    return True


@_compiled
def _copy(rows, columns):
    """Copy rows to columns, in the order in which they lie in memory."""
    if rows.strides[0] < rows.strides[1]:
        for j in range(rows.shape[1]):
            for r in range(rows.shape[0]):
                columns[j, r] = rows[r, j]
    else:
        for r in range(rows.shape[0]):
            for j in range(rows.shape[1]):
                columns[j, r] = rows[r, j]


@_compiled
def _scale(values, n, scale, apart):
    """Multiply by `scale`; return whether all entries fit.

    Rows whose product would be 0, which loses a bit, are set in `apart`.
    """
    if scale < 1.0:
        for r in range(n):
            apart[r] |= values[r] != 0.0 and values[r] * scale == 0.0
    misfits = 0
    for r in range(n):
        values[r] *= scale
        misfits += not abs(values[r]) < _MAX_FIRST  # NaN does not fit either
    return misfits == 0


@_compiled
def _cut(right, j, n, rest, apart):
    """Cut the entries in `right[0, j]`; return whether any has a slice of its own.

    `rest` is working memory. Rows with bits left after that slice are set in `apart`.
    """
    depth = right.shape[0] - 1
    for r in range(n):
        rest[r] = right[0, j, r]
    for k in range(depth):
        slices = right[k, j]
        for r in range(n):
            slices[r] = (rest[r] + _ROUND) - _ROUND
            rest[r] = (rest[r] - slices[r]) * _BASE
    left_over = 0
    for r in range(n):
        left_over += rest[r] != 0.0
    if left_over == 0:
        return False
    slices = right[depth, j]
    for r in range(n):
        slices[r] = (rest[r] + _ROUND) - _ROUND
        apart[r] |= rest[r] != slices[r]
    return True


@_compiled
def _cut_products(left, j, n, z, weight, high, low, apart):
    """Cut the products of z and of the weights; `high` and `low` are working memory.

    Rows with bits left after the last slice are set in `apart`.
    """
    vanished = left_over = 0
    for r in range(n):
        # The error of the product, as `double_double.two_prod` finds it.
        w, value = weight[r], z[r]
        product = value * w
        t = value * _SPLITTER
        value_high = t - (t - value)
        value_low = value - value_high
        t = w * _SPLITTER
        w_high = t - (t - w)
        w_low = w - w_high
        error = value_high * w_high - product
        error = error + value_high * w_low + value_low * w_high + value_low * w_low
        high[r], low[r] = product, error
        vanished += product == 0.0 and value != 0.0
    for k in range(left.shape[0]):
        slices = left[k, j]
        for r in range(n):
            slices[r] = (high[r] + _ROUND) - _ROUND
            rest = high[r] - slices[r]
            total = rest + low[r]
            low[r] = (low[r] - (total - rest)) * _BASE
            high[r] = total * _BASE
    for r in range(n):
        left_over += high[r] != 0.0 or low[r] != 0.0
    if vanished + left_over > 0:
        for r in range(n):
            product = z[r] * weight[r]
            apart[r] |= high[r] != 0.0 or low[r] != 0.0 or (product == 0.0 and z[r] != 0.0)


@_compiled
def _add_own(left, right, own, j, n, weighted, digits):
    """Add the products with the slices that entries of column j have of their own; count these."""
    columns, depth, entries = own.shape[0], right.shape[0] - 1, 0
    for r in range(n):
        entry = np.int64(right[depth, j, r])
        if entry == 0:
            continue
        entries += 1
        for i in range(j + 1 if weighted else columns):
            row, column = min(i, j), max(i, j)
            for k in range(left.shape[0] if weighted else depth):
                twice = 2 if i == j and not weighted else 1
                digits[depth + k, row, column] += twice * entry * np.int64(left[k, i, r])
            if not weighted and own[i] and i <= j:
                digits[2 * depth, i, j] += entry * np.int64(right[depth, i, r])
    return entries


@_compiled
def _add_sums(digits, top, i, j, sums):
    for k in range(len(sums)):
        digits[top + k, i, j] += np.int64(sums[k])


@_compiled_in_any_order
def _add_products_of_3(left, first, right, second, digits, n):
    """Add the products of three slices of w z and three of z, for 2 x 2 columns at a time."""
    columns, top = right.shape[1], first + second
    for i in range(0, columns, 2):
        for j in range(i, columns, 2):
            a0, a1, a2 = left[first, i], left[first + 1, i], left[first + 2, i]
            b0, b1, b2 = left[first, i + 1], left[first + 1, i + 1], left[first + 2, i + 1]
            c0, c1, c2 = right[second, j], right[second + 1, j], right[second + 2, j]
            d0, d1, d2 = right[second, j + 1], right[second + 1, j + 1], right[second + 2, j + 1]
            p0 = p1 = p2 = p3 = p4 = 0.0
            q0 = q1 = q2 = q3 = q4 = 0.0
            s0 = s1 = s2 = s3 = s4 = 0.0
            t0 = t1 = t2 = t3 = t4 = 0.0
            for r in range(n):
                p0 += a0[r] * c0[r]
                p1 += a0[r] * c1[r] + a1[r] * c0[r]
                p2 += a0[r] * c2[r] + a1[r] * c1[r] + a2[r] * c0[r]
                p3 += a1[r] * c2[r] + a2[r] * c1[r]
                p4 += a2[r] * c2[r]
                q0 += a0[r] * d0[r]
                q1 += a0[r] * d1[r] + a1[r] * d0[r]
                q2 += a0[r] * d2[r] + a1[r] * d1[r] + a2[r] * d0[r]
                q3 += a1[r] * d2[r] + a2[r] * d1[r]
                q4 += a2[r] * d2[r]
                s0 += b0[r] * c0[r]
                s1 += b0[r] * c1[r] + b1[r] * c0[r]
                s2 += b0[r] * c2[r] + b1[r] * c1[r] + b2[r] * c0[r]
                s3 += b1[r] * c2[r] + b2[r] * c1[r]
                s4 += b2[r] * c2[r]
                t0 += b0[r] * d0[r]
                t1 += b0[r] * d1[r] + b1[r] * d0[r]
                t2 += b0[r] * d2[r] + b1[r] * d1[r] + b2[r] * d0[r]
                t3 += b1[r] * d2[r] + b2[r] * d1[r]
                t4 += b2[r] * d2[r]
            _add_sums(digits, top, i, j, (p0, p1, p2, p3, p4))
            _add_sums(digits, top, i, j + 1, (q0, q1, q2, q3, q4))
            _add_sums(digits, top, i + 1, j, (s0, s1, s2, s3, s4))
            _add_sums(digits, top, i + 1, j + 1, (t0, t1, t2, t3, t4))


@_compiled_in_any_order
def _add_products_of_2(left, first, right, second, digits, n):
    """Add the products of two slices of w z and two of z, for 2 x 2 columns at a time."""
    columns, top = right.shape[1], first + second
    for i in range(0, columns, 2):
        for j in range(i, columns, 2):
            a0, a1 = left[first, i], left[first + 1, i]
            b0, b1 = left[first, i + 1], left[first + 1, i + 1]
            c0, c1 = right[second, j], right[second + 1, j]
            d0, d1 = right[second, j + 1], right[second + 1, j + 1]
            p0 = p1 = p2 = 0.0
            q0 = q1 = q2 = 0.0
            s0 = s1 = s2 = 0.0
            t0 = t1 = t2 = 0.0
            for r in range(n):
                p0 += a0[r] * c0[r]
                p1 += a0[r] * c1[r] + a1[r] * c0[r]
                p2 += a1[r] * c1[r]
                q0 += a0[r] * d0[r]
                q1 += a0[r] * d1[r] + a1[r] * d0[r]
                q2 += a1[r] * d1[r]
                s0 += b0[r] * c0[r]
                s1 += b0[r] * c1[r] + b1[r] * c0[r]
                s2 += b1[r] * c1[r]
                t0 += b0[r] * d0[r]
                t1 += b0[r] * d1[r] + b1[r] * d0[r]
                t2 += b1[r] * d1[r]
            _add_sums(digits, top, i, j, (p0, p1, p2))
            _add_sums(digits, top, i, j + 1, (q0, q1, q2))
            _add_sums(digits, top, i + 1, j, (s0, s1, s2))
            _add_sums(digits, top, i + 1, j + 1, (t0, t1, t2))
