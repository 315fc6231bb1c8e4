"""The kernels of the fast engine: XNOR and popcount on packed words, compiled by Numba for the processor at hand.

They read a `Plan` and do their arithmetic on the vectors of `vectors`, with one lane for each output channel.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.core.registry import cpu_target
from numpy.typing import NDArray

from bnnlib.packed import plan as layout
from bnnlib.packed import vectors
from bnnlib.packed.jit import Decorator, kernel
from bnnlib.packed.model import PackedModel
from bnnlib.packed.plan import Plan, lay_out
from bnnlib.packed.vectors import (
    add_mismatches,
    add_total,
    counts_words,
    item,
    lanes_of,
    least,
    load,
    pointer,
    put,
    shifted_or,
    store,
    within,
    zeros,
)

# Lanes of a vector: 16 words are one AVX-512 register, two AVX2 registers or four NEON registers. 32 are for AVX-512
# only, where two registers share the load of an input word.
NARROW, WIDE = 16, 32
WHITE = 255
TILE = 4  # places of a kernel that share one load of the weights; `count` writes them out
# The most vectors whose bits can be counted in bytes without overflow: 31 * 8 < 256.
BLOCK = 31
UNROLLED = 3  # words that `count` adds in each step of its loop
# LLVM inlines these, but Numba compiles each of them only once. They take pointers, because Numba counts references to
# every array that is passed on, and that takes longer than a small layer.
helper: Decorator = numba.njit(forceinline=True)


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
    # Join the bits of 2, 4, 8 ... pixels, then of all: the last step may set bits that are set already.
    width = 1
    while width < last:
        step = min(width, last - width)
        for q in range(0, pixels, NARROW):
            store(to, q, shifted_or(load(to, q, zero), load(to, q + step, zero), step * planes))
        width += step


@helper
def stack_rows(pixels: Any, strip: Any, words: Any) -> None:
    """Fill a strip of several rows from the strip of one row. pixels: of an image."""
    base, to, zero = pointer(words, strip.base), pointer(words, strip.at), zeros(NARROW)
    rows, side, bits = strip.rows, strip.side, strip.planes * strip.width
    for q in range(0, pixels - (rows - 1) * side, NARROW):  # no kernel begins in the last rows
        stack = load(base, q, zero)
        for row in range(1, rows):
            stack = shifted_or(stack, load(base, q + row * side, zero), row * bits)
        store(to, q, stack)


@helper
def add_word(places: Any, offset: Any, weights: Any, at: Any, counts: Any) -> Any:
    """Add one word of the kernel, whose weights begin at ``at``, to the counts of each place."""
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
    """Counts of `add_mismatches` over the words of the kernel from ``first`` up to, not including, ``last``."""
    step = lanes_of(zero)
    # The first word is not in the loop: LLVM then drops its additions to 0.
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
    """The fewest mismatches at `TILE` places, in each lane."""
    m0, m1, m2, m3 = mismatches(words, starts, taps, zero)
    return least(least(m0, m1), least(m2, m3))


@helper
def taps_of(group: Any, tables: Any) -> Any:
    """Offsets, weights and number of the words of the kernel. tables: see `tables_of`."""
    _, offsets, weights, _ = tables
    return pointer(offsets, group.offsets), pointer(weights, group.weights), group.words


@helper
def write(out: Any, at: Any, bits: Any, shift: Any) -> None:
    """Write a group's bits to an output pixel's word, above the bits of the groups before."""
    put(out, at, bits if shift == 0 else item(out, at) | bits << np.uint32(shift))


@helper
def convolve(words: Any, group: Any, tables: Any, zero: Any) -> None:
    """One group of a block, from the block's input in ``words`` to its output there."""
    # Plain variables, because LLVM reads the fields of a record again after every write to ``words``.
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
    """Pointers to the plan's starts, offsets, weights and limits: each group has a part of each."""
    return pointer(plan.starts, 0), pointer(plan.offsets, 0), pointer(plan.weights, 0), pointer(plan.limits, 0)


@kernel(vectors, layout)
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
    widths = (WIDE, NARROW) if vectors.has_word_popcount(cpu_target.target_context) else (NARROW,)
    return lay_out(model, widths, TILE)
