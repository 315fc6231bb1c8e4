"""Compiled matrix products of the sizes that training has: thousands of small ones, and the first layer's.

A general library spends as long on getting ready for a product of 25 x 64 by 64 x 32 as on the product. Here a tile of
`ROWS` rows and two vectors of columns stays in registers while the inner dimension goes by. Vectors are a type of
this file, in LLVM's terms, which maps them to the registers there are. Sums are in float32, each step a fused
multiply-add.

What these kernels call is in this file too, and the sizes that `compiled` has as well, because Numba's cache looks for
changes in a kernel's own file only.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model
from numpy.typing import NDArray

from bnnlib.packed.jit import Decorator, kernel

LANES = 16  # float32 numbers of one AVX-512 register, of two AVX2 registers
COLUMNS = 2 * LANES  # of a tile
ROWS = 4  # of a tile; `_tile` spells them out
KERNEL = 9  # side of the first block's kernels

operation: Decorator = intrinsic  # on vectors, in LLVM's terms
helper: Decorator = numba.njit(forceinline=True)

FLOATS = ir.VectorType(ir.FloatType(), LANES)


class VectorType(types.Type):
    """LANES float32 numbers, inside compiled code only."""

    def __init__(self) -> None:
        super().__init__("Floats")


vector = VectorType()


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):
    """Held as an LLVM vector."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, FLOATS)


def _address(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value, at: ir.Value) -> ir.Value:
    """Address of an element of a contiguous array of one dimension."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [at])


def _vector_address(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value, at: ir.Value) -> ir.Value:
    return builder.bitcast(_address(context, builder, kind, array, at), FLOATS.as_pointer())


@operation
def _load(typing: Any, array: Any, at: Any) -> Any:
    """LANES numbers of an array, from ``at`` on."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(_vector_address(context, builder, signature.args[0], *values), align=4)

    return vector(array, types.intp), generate


@operation
def _store(typing: Any, array: Any, at: Any, numbers: Any) -> Any:
    """Write LANES numbers to an array, from ``at`` on."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array, at, numbers = values
        builder.store(numbers, _vector_address(context, builder, signature.args[0], array, at), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@operation
def _add_product(typing: Any, sums: Any, array: Any, at: Any, numbers: Any) -> Any:
    """Fused: sums + array[at] * numbers in each lane."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        sums, array, at, numbers = values
        factor = builder.load(_address(context, builder, signature.args[1], array, at))
        one = builder.insert_element(ir.Constant(FLOATS, ir.Undefined), factor, ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        repeated = builder.shuffle_vector(one, one, mask)
        fma = ir.FunctionType(FLOATS, [FLOATS] * 3)
        operator = cgutils.get_or_insert_function(builder.module, fma, f"llvm.fma.v{LANES}f32")
        return builder.call(operator, [repeated, numbers, sums])

    return vector(vector, array, types.intp, vector), generate


@helper
def _tile(sums: Any, a: Any, at: Any, row: Any, step: Any, count: Any, b: Any, place: Any, width: Any) -> Any:
    """Add to a tile of four rows: sums[r] += a[at + r * row + k * step] * b[place + k * width :] for k < count."""
    c0, d0, c1, d1, c2, d2, c3, d3 = sums
    for _ in range(count):
        left, right = _load(b, place), _load(b, place + LANES)
        c0, d0 = _add_product(c0, a, at, left), _add_product(d0, a, at, right)
        c1, d1 = _add_product(c1, a, at + row, left), _add_product(d1, a, at + row, right)
        c2, d2 = _add_product(c2, a, at + 2 * row, left), _add_product(d2, a, at + 2 * row, right)
        c3, d3 = _add_product(c3, a, at + 3 * row, left), _add_product(d3, a, at + 3 * row, right)
        at += step
        place += width
    return c0, d0, c1, d1, c2, d2, c3, d3


@helper
def _row(sums: Any, a: Any, at: Any, step: Any, count: Any, b: Any, place: Any, width: Any) -> Any:
    """`_tile` of one row."""
    c, d = sums
    for _ in range(count):
        c, d = _add_product(c, a, at, _load(b, place)), _add_product(d, a, at, _load(b, place + LANES))
        at += step
        place += width
    return c, d


@helper
def _load_tile(c: Any, at: Any, width: Any) -> Any:
    return (
        _load(c, at),
        _load(c, at + LANES),
        _load(c, at + width),
        _load(c, at + width + LANES),
        _load(c, at + 2 * width),
        _load(c, at + 2 * width + LANES),
        _load(c, at + 3 * width),
        _load(c, at + 3 * width + LANES),
    )


@helper
def _store_tile(c: Any, at: Any, width: Any, sums: Any) -> None:
    _store(c, at, sums[0])
    _store(c, at + LANES, sums[1])
    _store(c, at + width, sums[2])
    _store(c, at + width + LANES, sums[3])
    _store(c, at + 2 * width, sums[4])
    _store(c, at + 2 * width + LANES, sums[5])
    _store(c, at + 3 * width, sums[6])
    _store(c, at + 3 * width + LANES, sums[7])


@helper
def _multiply(a: Any, row: Any, step: Any, rows: Any, count: Any, b: Any, c: Any, width: Any) -> None:
    """Add a product: c += A b, where A[r, k] = a[r * row + k * step]. Rows of b and c are ``width`` long."""
    for place in range(0, width, COLUMNS):
        r = 0
        while r + ROWS <= rows:
            sums = _load_tile(c, r * width + place, width)
            _store_tile(c, r * width + place, width, _tile(sums, a, r * row, row, step, count, b, place, width))
            r += ROWS
        while r < rows:
            at = r * width + place
            left, right = _row((_load(c, at), _load(c, at + LANES)), a, r * row, step, count, b, place, width)
            _store(c, at, left)
            _store(c, at + LANES, right)
            r += 1


@kernel
def multiply(a: NDArray[np.float32], b: NDArray[np.float32], c: NDArray[np.float32]) -> None:
    """Products of many pairs: (f, m, k), (f, k, n) -> (f, m, n), n a multiple of `COLUMNS`."""
    for f in range(a.shape[0]):
        c[f] = 0
        _multiply(
            a[f].reshape(-1), a.shape[2], 1, a.shape[1], a.shape[2], b[f].reshape(-1), c[f].reshape(-1), c.shape[2]
        )


@kernel
def multiply_transposed(a: NDArray[np.float32], b: NDArray[np.float32], c: NDArray[np.float32]) -> None:
    """`multiply` with the first of each pair transposed: (f, k, m), (f, k, n) -> (f, m, n)."""
    for f in range(a.shape[0]):
        c[f] = 0
        _multiply(
            a[f].reshape(-1), 1, a.shape[2], a.shape[2], a.shape[1], b[f].reshape(-1), c[f].reshape(-1), c.shape[2]
        )


@kernel
def transpose(start: int, stop: int, a: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Transposes of matrices ``start`` to ``stop``: (f, m, n) -> (f, n, m)."""
    for f in range(start, stop):
        for i in range(a.shape[1]):
            for j in range(a.shape[2]):
                out[f, j, i] = a[f, i, j]


@kernel
def convolve_images(images: NDArray[np.float32], weights: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """The first block: (n, side, side), (9, 9, channels) -> (n, size, size, channels), size a multiple of `ROWS`.

    channels: `COLUMNS`.
    """
    side, size = images.shape[1], out.shape[1]
    b = weights.reshape(-1)
    for n in range(len(images)):
        a, c = images[n].reshape(-1), out[n].reshape(-1)
        c[:] = 0
        for y in range(size):
            for x in range(0, size, ROWS):
                at = (y * size + x) * COLUMNS
                sums = _load_tile(c, at, COLUMNS)
                for row in range(KERNEL):
                    sums = _tile(sums, a, (y + row) * side + x, 1, 1, KERNEL, b, row * KERNEL * COLUMNS, COLUMNS)
                _store_tile(c, at, COLUMNS, sums)


@kernel
def first_weights(
    images: NDArray[np.float32],
    g: NDArray[np.float32],
    y: NDArray[np.float32],
    slope: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Gradient of the first block's weights (9, 9, channels), with the outputs' slope[0] * g + slope[1] * y + slope[2].

    images: (n, side, side); g, y: (n, size, size, channels); slope: (3, channels); channels: `COLUMNS`.
    """
    side, size = images.shape[1], g.shape[1]
    line = np.empty(size * COLUMNS, np.float32)  # of gradients: all that it has to do with is done while it is at hand
    c = out.reshape(-1)
    c[:] = 0
    for n in range(len(images)):
        a = images[n].reshape(-1)
        for row in range(size):
            for x in range(size):
                for i in range(COLUMNS):
                    line[x * COLUMNS + i] = slope[0, i] * g[n, row, x, i] + slope[1, i] * y[n, row, x, i] + slope[2, i]
            for tap in range(KERNEL):
                _add_line(a[(row + tap) * side :], size, line, c[tap * KERNEL * COLUMNS :])


@helper
def _add_line(a: Any, size: Any, line: Any, c: Any) -> None:
    """Add to a row of taps (9, channels) what a row of pixels and a line of gradients (size, channels) give."""
    for column in range(0, KERNEL - 1, ROWS):
        at = column * COLUMNS
        sums = _load_tile(c, at, COLUMNS)
        _store_tile(c, at, COLUMNS, _tile(sums, a, column, 1, 1, size, line, 0, COLUMNS))
    at = (KERNEL - 1) * COLUMNS
    left, right = _row((_load(c, at), _load(c, at + LANES)), a, KERNEL - 1, 1, size, line, 0, COLUMNS)
    _store(c, at, left)
    _store(c, at + LANES, right)
