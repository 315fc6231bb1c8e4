"""The kernels of the fast engine: XNOR and popcount on packed words, compiled by Numba for the processor at hand.

Reads `plan`. The arithmetic is on vectors of 32-bit words, one for each output channel, which Numba itself does not
know: a type and a few operations on it are defined here in LLVM's terms. LLVM maps them to the registers
there are, so the same code runs on AVX-512, AVX2, SSE and NEON, and as integers gives the same numbers on all.

All compiled code is in this file, because Numba's cache looks for changes in a kernel's own file only.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model
from numpy.typing import NDArray

from bnnlib.packed.jit import Decorator, kernel
from bnnlib.packed.model import PackedModel
from bnnlib.packed.plan import Plan, lay_out

# Words of a vector: 16 are one AVX-512 register, two AVX2 registers, four NEON registers; 32 are for AVX-512, where two
# registers share the load of an input word.
NARROW, WIDE = 16, 32
WHITE = 255
TILE = 4  # places of a kernel that share one load of the weights; `count` spells them out
# Vectors whose bits can be counted in bytes before one overflows: 31 * 8 < 256.
BLOCK = 31
UNROLLED = 3  # words of `count` between two tests whether more follow
operation: Decorator = intrinsic  # on vectors, in LLVM's terms
# LLVM inlines these, so that Numba compiles each of them once. They take pointers: Numba counts references to every
# array that is passed on, which takes longer than a small layer.
helper: Decorator = numba.njit(forceinline=True)


class LanesType(types.Type):
    """A vector of ``count`` words of 32 bits, inside compiled code only."""

    def __init__(self, count: int) -> None:
        super().__init__(f"Lanes({count})")
        self.count = count


@register_model(LanesType)
class LanesModel(models.PrimitiveModel):
    """Held as an LLVM vector."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.IntType(32), kind.count))


def _vector(builder: ir.IRBuilder, data: ir.Value, at: ir.Value, vector: ir.Type) -> ir.Value:
    """Address of a vector of words; it is not aligned to more than 4 bytes."""
    return builder.bitcast(builder.gep(data, [at]), vector.as_pointer())


def _in_all(vector: ir.Type, number: int) -> ir.Constant:
    """One number in all lanes of a vector's type."""
    return ir.Constant(vector, [number] * vector.count)


def _repeated(builder: ir.IRBuilder, word: ir.Value, vector: ir.Type) -> ir.Value:
    """One word in all lanes of a vector's type."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), word, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, first, _in_all(vector, 0))


def _popcount(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    kind = vector.type
    name = f"llvm.ctpop.v{kind.count}i{kind.element.width}"
    return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name), [vector])


def _counts_words(context: Any) -> bool:
    """Whether the processor has an instruction for the popcount of words; on bytes LLVM needs fewer elsewhere."""
    _, _, features = context.codegen().magic_tuple()
    return "+avx512vpopcntdq" in features.split(",")


@operation
def zeros(typing: Any, count: Any) -> Any:
    """0 in all lanes of a vector of ``count`` words, a constant."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    vector = LanesType(count.literal_value)
    return vector(count), lambda context, *_: _in_all(context.get_value_type(vector), 0)


@operation
def least(typing: Any, left: Any, right: Any) -> Any:
    """The smaller number in each lane."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.select(builder.icmp_signed("<", *values), *values)

    return left(left, left), generate


@operation
def pointer(typing: Any, array: Any, at: Any) -> Any:
    """Pointer to the elements of a contiguous array, or behind another pointer, from ``at`` on."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data, at = values
        if isinstance(array, types.Array):
            data = context.make_array(array)(context, builder, data).data
        return builder.gep(data, [at])

    return types.CPointer(array.dtype)(array, types.intp), generate


@operation
def item(typing: Any, data: Any, at: Any) -> Any:
    """Element at an index."""
    return data.dtype(data, types.intp), lambda context, builder, signature, values: builder.load(
        builder.gep(values[0], [values[1]])
    )


@operation
def put(typing: Any, data: Any, at: Any, value: Any) -> Any:
    """Write an element at an index."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data, at, value = values
        builder.store(value, builder.gep(data, [at]))
        return context.get_dummy_value()

    return types.void(data, types.intp, data.dtype), generate


@operation
def load(typing: Any, data: Any, at: Any, like: Any) -> Any:
    """Words from ``at`` on, as many as another vector has."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data, at, like = values
        return builder.load(_vector(builder, data, at, like.type), align=4)

    return like(data, types.intp, like), generate


@operation
def store(typing: Any, data: Any, at: Any, vector: Any) -> Any:
    """Write a vector from ``at`` on."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data, at, vector = values
        builder.store(vector, _vector(builder, data, at, vector.type), align=4)
        return context.get_dummy_value()

    return types.void(data, types.intp, vector), generate


@operation
def shifted_or(typing: Any, left: Any, right: Any, shift: Any) -> Any:
    """In each lane: left | right << shift."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        left, right, shift = values
        shift = _repeated(builder, builder.trunc(shift, ir.IntType(32)), left.type)
        return builder.or_(left, builder.shl(right, shift))

    return left(left, left, types.intp), generate


@operation
def lanes_of(typing: Any, vector: Any) -> Any:
    """Number of lanes of a vector, a constant."""
    return types.intp(vector), lambda *_: ir.Constant(ir.IntType(64), vector.count)


@operation
def counts_words(typing: Any) -> Any:
    """Whether `add_mismatches` counts in words; a constant, so that LLVM drops what is for other processors."""
    return types.boolean(), lambda context, builder, signature, values: ir.Constant(
        ir.IntType(1), _counts_words(context)
    )


@operation
def add_mismatches(typing: Any, counts: Any, weights: Any, words: Any, at: Any) -> Any:
    """Add the number of bits in which each word of weights differs from the one word at an index.

    The counts are of words where the processor has such a popcount, else of bytes: `add_total` adds those up.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        counts, weights, words, at = values
        word = builder.load(builder.gep(words, [at]))
        differ = builder.xor(weights, _repeated(builder, word, weights.type))
        if _counts_words(context):
            return builder.add(counts, _popcount(builder, differ))
        octets = ir.VectorType(ir.IntType(8), 4 * weights.type.count)
        more = _popcount(builder, builder.bitcast(differ, octets))
        return builder.bitcast(builder.add(builder.bitcast(counts, octets), more), weights.type)

    return counts(counts, counts, words, types.intp), generate


@operation
def add_total(typing: Any, sums: Any, counts: Any) -> Any:
    """Add to each lane the four bytes that `add_mismatches` counted in it."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        sums, counts = values
        for width in (8, 16):  # neighbouring bytes, then neighbouring halves
            low = _in_all(sums.type, 0x00FF00FF if width == 8 else 0xFFFF)
            high = builder.lshr(counts, _in_all(sums.type, width))
            counts = builder.add(builder.and_(counts, low), builder.and_(high, low))
        return builder.add(sums, counts)

    return sums(sums, sums), generate


@operation
def within(typing: Any, sums: Any, limits: Any) -> Any:
    """Bit i is set where lane i is at most the limit's."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        bits = builder.icmp_signed("<=", *values)
        return builder.zext(builder.bitcast(bits, ir.IntType(bits.type.count)), ir.IntType(32))

    return types.uint32(sums, sums), generate


@helper
def pack_row(image: Any, pixels: Any, thresholds: Any, strip: Any, marks: Any, words: Any) -> None:
    """Fill a strip of one row. image, marks: (pixels,); marks are scratch, a byte for the planes of each pixel."""
    to, zero = pointer(words, strip.at), zeros(NARROW)
    planes, last = strip.planes, strip.width
    for plane in range(planes):
        threshold = item(thresholds, strip.first + plane)
        least_pixel, bit = np.uint8(threshold), np.uint8(0 if threshold > WHITE else 1 << plane)
        for q in range(pixels):
            mark = bit if item(image, q) >= least_pixel else np.uint8(0)
            put(marks, q, mark if plane == 0 else np.uint8(item(marks, q) | mark))
    for q in range(pixels):
        put(to, q, np.uint32(item(marks, q)))
    # The bits of 1, 2, 4, 8... pixels, then of all: the last step may set bits again that are set already.
    width = 1
    while width < last:
        step = min(width, last - width)
        for q in range(0, pixels, NARROW):
            store(to, q, shifted_or(load(to, q, zero), load(to, q + step, zero), step * planes))
        width += step


@helper
def stack_rows(pixels: Any, strip: Any, words: Any) -> None:
    """Fill a strip of several rows from the one of one row. pixels: of an image."""
    base, to, zero = pointer(words, strip.base), pointer(words, strip.at), zeros(NARROW)
    rows, side, bits = strip.rows, strip.side, strip.planes * strip.width
    for q in range(0, pixels - (rows - 1) * side, NARROW):  # no kernel begins in the last rows
        stack = load(base, q, zero)
        for row in range(1, rows):
            stack = shifted_or(stack, load(base, q + row * side, zero), row * bits)
        store(to, q, stack)


@helper
def add_word(places: Any, offset: Any, weights: Any, at: Any, counts: Any) -> Any:
    """Add to the counts of each place those of one word of the kernel, whose weights begin at ``at``."""
    p0, p1, p2, p3 = places
    c0, c1, c2, c3 = counts
    w = load(weights, at, c0)
    c0 = add_mismatches(c0, w, p0, offset)
    c1 = add_mismatches(c1, w, p1, offset)
    c2 = add_mismatches(c2, w, p2, offset)
    c3 = add_mismatches(c3, w, p3, offset)
    return c0, c1, c2, c3


@helper
def count(places: Any, offsets: Any, weights: Any, first: Any, last: Any, zero: Any) -> Any:
    """Counts of `add_mismatches` for the words of the kernel from ``first`` to ``last``, excluded."""
    step = lanes_of(zero)
    # The first word apart: LLVM then drops the additions to 0.
    counts = add_word(places, item(offsets, first), weights, first * step, (zero, zero, zero, zero))
    rest = last - (last - first - 1) % UNROLLED
    for i in range(first + 1, rest, UNROLLED):
        counts = add_word(places, item(offsets, i), weights, i * step, counts)
        counts = add_word(places, item(offsets, i + 1), weights, (i + 1) * step, counts)
        counts = add_word(places, item(offsets, i + 2), weights, (i + 2) * step, counts)
    for i in range(rest, last):
        counts = add_word(places, item(offsets, i), weights, i * step, counts)
    return counts


@helper
def mismatches(words: Any, starts: Any, taps: Any, zero: Any) -> Any:
    """Mismatches of a group of output channels at `TILE` places. taps: see `taps_of`; zero: a vector of its lanes."""
    offsets, weights, number = taps
    s0, s1, s2, s3 = item(starts, 0), item(starts, 1), item(starts, 2), item(starts, 3)
    places = pointer(words, s0), pointer(words, s1), pointer(words, s2), pointer(words, s3)
    if counts_words():
        return count(places, offsets, weights, 0, number, zero)
    m0, m1, m2, m3 = zero, zero, zero, zero
    for first in range(0, number, BLOCK):
        c0, c1, c2, c3 = count(places, offsets, weights, first, min(first + BLOCK, number), zero)
        m0, m1, m2, m3 = add_total(m0, c0), add_total(m1, c1), add_total(m2, c2), add_total(m3, c3)
    return m0, m1, m2, m3


@helper
def fewest_of(words: Any, starts: Any, taps: Any, zero: Any) -> Any:
    """The least of the mismatches at `TILE` places, in each lane."""
    m0, m1, m2, m3 = mismatches(words, starts, taps, zero)
    return least(least(m0, m1), least(m2, m3))


@helper
def taps_of(group: Any, tables: Any) -> Any:
    """Offsets, weights and number of the words of the kernel. tables: pointers to the plan's, see `tables_of`."""
    _, offsets, weights, _ = tables
    return pointer(offsets, group.offsets), pointer(weights, group.weights), group.words


@helper
def write(out: Any, at: Any, bits: Any, shift: Any) -> None:
    """Write a group's bits to an output pixel's word, above those of the groups before."""
    put(out, at, bits if shift == 0 else item(out, at) | bits << np.uint32(shift))


@helper
def convolve(words: Any, group: Any, tables: Any, zero: Any) -> None:
    """One group of a block, from the block's input in ``words`` to its output there."""
    # Plain variables: LLVM reads fields of a record again after every write to ``words``.
    starts, taps = pointer(tables[0], group.starts), taps_of(group, tables)
    limit, flip = load(tables[3], group.limits, zero), np.uint32(group.flip)
    out, stride, shift = pointer(words, group.target), group.stride, group.shift
    pixels, window = group.pixels, group.window
    if window == 1:
        for pixel in range(0, pixels, TILE):
            m0, m1, m2, m3 = mismatches(words, pointer(starts, pixel), taps, zero)
            write(out, pixel * stride, within(m0, limit) ^ flip, shift)
            write(out, (pixel + 1) * stride, within(m1, limit) ^ flip, shift)
            write(out, (pixel + 2) * stride, within(m2, limit) ^ flip, shift)
            write(out, (pixel + 3) * stride, within(m3, limit) ^ flip, shift)
    else:
        for pixel in range(pixels):
            first = pixel * window
            fewest = fewest_of(words, pointer(starts, first), taps, zero)
            for place in range(first + TILE, first + window, TILE):
                fewest = least(fewest, fewest_of(words, pointer(starts, place), taps, zero))
            write(out, pixel * stride, within(fewest, limit) ^ flip, shift)


@helper
def convolve_group(words: Any, group: Any, tables: Any) -> None:
    """`convolve` with as many lanes as the group has."""
    if group.lanes == NARROW:
        convolve(words, group, tables, zeros(NARROW))
    elif counts_words():  # `plan` makes wide groups for no other processor
        convolve(words, group, tables, zeros(WIDE))


@helper
def finish(words: Any, group: Any, tables: Any) -> Any:
    """Pointer to the mismatches of each lane of one group of the head."""
    found, _, _, _ = mismatches(words, pointer(tables[0], group.starts), taps_of(group, tables), zeros(NARROW))
    store(words, group.target, found)
    return pointer(words, group.target)


@numba.njit(inline="always")
def tables_of(plan: Any) -> Any:
    """Pointers to the arrays of which each group has a part: starts, offsets, weights and limits."""
    return pointer(plan.starts, 0), pointer(plan.offsets, 0), pointer(plan.weights, 0), pointer(plan.limits, 0)


@kernel
def run(images: NDArray[np.uint8], plan: Plan, scratch: NDArray[np.uint32], dots: NDArray[np.int32]) -> None:
    """Write the head's dot products to ``dots``, (n, classes). images: (n, pixels); scratch: (size,)."""
    tables, thresholds = tables_of(plan), pointer(plan.thresholds, 0)
    words, pixels = pointer(scratch, 0), images.shape[1]
    marks = np.empty(pixels, np.uint8)
    for n in range(len(images)):
        for number in range(len(plan.strips)):
            strip = plan.strips[number]
            if strip.rows == 1:
                pack_row(pointer(images, n * pixels), pixels, thresholds, strip, pointer(marks, 0), words)
            else:
                stack_rows(pixels, strip, words)
        for number in range(plan.head):
            convolve_group(words, plan.groups[number], tables)
        for number in range(plan.head, len(plan.groups)):
            found, first = finish(words, plan.groups[number], tables), (number - plan.head) * NARROW
            for channel in range(first, min(first + NARROW, dots.shape[1])):
                dots[n, channel] = plan.fan_in - 2 * np.int64(item(found, channel - first))


def plan(model: PackedModel) -> Plan:
    """The plan of a model for the processor at hand."""
    widths = (WIDE, NARROW) if _counts_words(cpu_target.target_context) else (NARROW,)
    return lay_out(model, widths, TILE)
