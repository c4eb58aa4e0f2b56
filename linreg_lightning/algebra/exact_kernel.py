"""Products of rows without rounding, as machine code that numba compiles (extra `fast`).

The sums are those of `gram_exact`: entries are cut into slices of 22 bits, and products of slices
are added as whole numbers. Here a block of rows is scaled, cut and multiplied while the cache of
the processor holds it. Two products of slices a and b cost one multiplication (A. Karatsuba, Yu.
Ofman, Multiplication of multidigit numbers on automata, Sov. Phys. Dokl. 7 (1963)):

    z_a z_b' + z_b z_a' = (z_a + z_b)(z_a + z_b)' - z_a z_a' - z_b z_b'

An entry with bits below its last slice costs a slice of its own, and not one for all rows. Only
`compiled_sums` imports this file, where it finds numba, so that the package works without it.
"""

from typing import Any

import numpy as np
from numba import njit

_BASE = 2.0**22
_ROUND = 1.5 * 2.0**52  # added to a number below 2^51 and subtracted, it rounds to a whole number
_SPLITTER = 2.0**27 + 1.0
BLOCK_ROWS = 256  # (a + b)(a + b)' is at most 2^44, so the sum over 512 rows is exact too

# Public functions have signatures: numba compiles them once for all orders of rows in memory.
_OPTIONS: Any = {"nogil": True, "cache": True, "error_model": "numpy"}
_compiled = njit(**_OPTIONS)
# Sums of whole numbers within 2^53 are the same in any order.
_compiled_in_any_order = njit(nogil=True, cache=True, fastmath=True)


@_compiled
def _cut_block(x, y, weight, unit, weight_unit, left, right, own, apart):
    """Cut a block of rows into `left` and `right`."""
    n, features = x.shape
    weighted = weight.shape[0] > 0
    rest, low, scaled_weight = np.empty(n), np.empty(n), np.empty(n)
    right[0, 0, :n] = 1.0
    _copy(x, right[0, 1:])
    _copy(y, right[0, 1 + features :])
    if weighted:
        for r in range(n):
            scaled_weight[r] = weight[r] * weight_unit
            if weight[r] == 0.0:
                right[0, :, r] = 0.0
    for j in range(1 + features + y.shape[1]):
        values = right[0, j]
        _scale(values, n, unit[j], apart)
        if weighted:
            _cut_products(left, j, n, values, scaled_weight, rest, low, apart)
        own[j] = _cut(right, j, n, rest, apart)
    for r in range(n):
        if apart[r]:
            right[:, :, r] = 0.0
            left[:, :, r] = 0.0


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
    """Multiply by `scale`; set `apart` for rows where a nonzero entry would become 0."""
    if scale < 1.0:
        for r in range(n):
            apart[r] |= values[r] != 0.0 and values[r] * scale == 0.0
    for r in range(n):
        values[r] *= scale


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
def _add_own(left, right, own, n, weighted, digits):
    """Add the products with the slices that single entries have of their own; count these."""
    entries = 0
    for j in range(own.shape[0]):
        for r in range(n if own[j] else 0):
            if right[right.shape[0] - 1, j, r] != 0.0:
                _add_products_of_entry(left, right, own, j, r, weighted, digits)
                entries += 1
    return entries


@_compiled
def _add_products_of_entry(left, right, own, j, r, weighted, digits):
    depth = right.shape[0] - 1
    entry = np.int64(right[depth, j, r])
    for i in range(j + 1 if weighted else own.shape[0]):
        row, column = min(i, j), max(i, j)
        twice = 2 if i == j and not weighted else 1
        for k in range(left.shape[0] if weighted else depth):
            digits[depth + k, row, column] += twice * entry * np.int64(left[k, i, r])
        if not weighted and own[i] and i <= j:
            digits[2 * depth, i, j] += entry * np.int64(right[depth, i, r])


@_compiled
def _multiply(left, right, n, weighted, sum_left, sum_right, products):
    """Add products of the slices a, then of the sums of two slices a and b, to `products`."""
    depth = right.shape[0] - 1
    for a in range(depth):
        _add_products(left[a], right[a], n, products[a])
    k = depth
    for a in range(depth):
        for b in range(a + 1, depth):
            np.add(right[a], right[b], sum_right)
            if weighted:
                np.add(left[a], left[b], sum_left)
            _add_products(sum_left, sum_right, n, products[k])
            k += 1


@_compiled
def _add_to_digits(products, depth, digits):
    k = depth
    for a in range(depth):
        digits[2 * a] += products[a]
        for b in range(a + 1, depth):
            digits[a + b] += products[k] - products[a] - products[b]
            k += 1


@_compiled_in_any_order
def _add_products(left, right, n, sums):
    """Add the sums over n rows of products of columns, for 4 x 4 columns at a time."""
    for i in range(0, left.shape[0], 4):
        a, b, c, d = left[i], left[i + 1], left[i + 2], left[i + 3]
        for j in range(i, left.shape[0], 4):
            p, q, s, t = right[j], right[j + 1], right[j + 2], right[j + 3]
            ap = aq = as_ = at = bp = bq = bs = bt = 0.0
            cp = cq = cs = ct = dp = dq = ds = dt = 0.0
            for r in range(n):
                ap += a[r] * p[r]
                aq += a[r] * q[r]
                as_ += a[r] * s[r]
                at += a[r] * t[r]
                bp += b[r] * p[r]
                bq += b[r] * q[r]
                bs += b[r] * s[r]
                bt += b[r] * t[r]
                cp += c[r] * p[r]
                cq += c[r] * q[r]
                cs += c[r] * s[r]
                ct += c[r] * t[r]
                dp += d[r] * p[r]
                dq += d[r] * q[r]
                ds += d[r] * s[r]
                dt += d[r] * t[r]
            _add_row(sums[i], j, ap, aq, as_, at)
            _add_row(sums[i + 1], j, bp, bq, bs, bt)
            _add_row(sums[i + 2], j, cp, cq, cs, ct)
            _add_row(sums[i + 3], j, dp, dq, ds, dt)


@_compiled
def _add_row(sums, j, p, q, s, t):
    sums[j] += np.int64(p)
    sums[j + 1] += np.int64(q)
    sums[j + 2] += np.int64(s)
    sums[j + 3] += np.int64(t)


@njit([f"i8({real}[:,:], f8[:], f8[:])" for real in ("f8", "f4")], **_OPTIONS)
def find_largest(values, weight, largest):
    """Raise `largest` to the magnitudes in `values`, (rows, columns), of rows of weight above 0.

    `weight` is (rows,), or empty: all are 1. Return how many of the values are NaN or infinite.
    """
    wrong = 0
    if values.strides[0] < values.strides[1] and weight.shape[0] == 0:
        for j in range(values.shape[1]):
            column, most = values[:, j], largest[j]
            for r in range(values.shape[0]):
                most = max(most, abs(column[r]))
                wrong += not abs(column[r]) < np.inf
            largest[j] = most
        return wrong
    for r in range(values.shape[0]):
        if weight.shape[0] > 0 and weight[r] == 0.0:
            continue
        for j in range(values.shape[1]):
            largest[j] = max(largest[j], abs(values[r, j]))
            wrong += not abs(values[r, j]) < np.inf
    return wrong


_ADD_ROWS = "i8({0}[:,:], {0}[:,:], f8[:], f8[:], f8, i8, i8, b1[:], i8[:,:,::1])"


@njit([_ADD_ROWS.format(real) for real in ("f8", "f4")], **_OPTIONS)
def add_rows(x, y, weight, unit, weight_unit, depth, groups, apart, digits):
    """Add rows to the digits; return how many entries cost a slice of their own.

    Args:
        x: (rows, features), float64 or float32.
        y: (rows, targets), of the same type.
        weight: (rows,) float64, or empty: all are 1.
        unit: 1 / the unit of each of [1, x, y], in which entries are below 2^21; then zeros until
            the number of columns is a multiple of 4; (columns,).
        weight_unit: what the weights are multiplied by, for results below 1.
        depth: the number of slices of z; w z has `groups` times as many.
        groups: 1 without weights.
        apart: (rows,) bool, set for rows that have bits left; they are not added.
        digits: ((groups + 1) * depth + 1, columns, columns); undefined below the diagonal.
    """
    rows, columns = x.shape[0], unit.shape[0]
    weighted = weight.shape[0] > 0
    stride = min(rows, BLOCK_ROWS) + 8  # lest columns share lines of the cache
    right = np.zeros((depth + 1, columns, stride))  # the last slice is the entry's own
    left = np.zeros((groups * depth, columns, stride)) if weighted else right
    sum_right = np.zeros((columns, stride))
    sum_left = np.zeros((columns, stride)) if weighted else sum_right
    products = np.zeros((groups, depth * (depth + 1) // 2, columns, columns), np.int64)
    own = np.zeros(columns, np.bool_)  # whether an entry of the column has a slice of its own
    entries = 0
    for start in range(0, rows, BLOCK_ROWS):
        block = slice(start, min(start + BLOCK_ROWS, rows))
        _cut_block(
            x[block], y[block], weight[block], unit, weight_unit, left, right, own, apart[block]
        )
        n = block.stop - start
        for group in range(groups):
            slices = left[group * depth : (group + 1) * depth] if weighted else right
            _multiply(slices, right, n, weighted, sum_left, sum_right, products[group])
        entries += _add_own(left, right, own, n, weighted, digits)
    for group in range(groups):
        _add_to_digits(products[group], depth, digits[group * depth :])
    return entries
