"""The fast engine: XNOR and popcount on packed words, compiled by Numba for the processor at hand.

Reads `plan`. The arithmetic is on vectors of `LANES` 32-bit words, one for each output channel, which Numba itself
does not know: a type and a few operations on it are defined here in LLVM's terms. LLVM maps them to the registers
there are, so the same code runs on AVX-512, AVX2, SSE and NEON, and as integers gives the same numbers on all.

All compiled code is in this file, because Numba's cache looks for changes in a kernel's own file only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model
from numpy.typing import NDArray

from bnnlib.errors import BnnError
from bnnlib.packed import model as packed
from bnnlib.packed.jit import Decorator, kernel
from bnnlib.packed.model import PackedModel
from bnnlib.packed.plan import lay_out
from bnnlib.packed.reference import affine

LANES = 16  # words of one AVX-512 register, of two AVX2 registers, of four NEON registers
TILE = 4  # output pixels that share one load of the weights; `mismatches` spells them out
# Vectors whose bits can be counted in bytes before one overflows: 31 * 8 < 256.
BLOCK = 31
# Images of one slice: fewer are not worth a thread, more would leave threads waiting for the last one.
SMALLEST_SLICE = 64
LARGEST_SLICE = 256

operation: Decorator = intrinsic  # on vectors, in LLVM's terms
helper: Decorator = numba.njit(inline="always")


class ThreadsError(BnnError):
    """A number of threads that cannot be."""


WORDS = ir.VectorType(ir.IntType(32), LANES)
BYTES = ir.VectorType(ir.IntType(8), 4 * LANES)


class LanesType(types.Type):
    """LANES words of 32 bits, inside compiled code only."""

    def __init__(self) -> None:
        super().__init__("Lanes")


lanes = LanesType()


@register_model(LanesType)
class LanesModel(models.PrimitiveModel):
    """Held as an LLVM vector."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, WORDS)


def _address(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value, *steps: ir.Value) -> ir.Value:
    """Address of an element of a contiguous array. Two steps let LLVM keep the sum of the first in a register."""
    address = context.make_array(kind)(context, builder, array).data
    for step in steps:
        address = builder.gep(address, [step])
    return address


def _vector_address(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value, at: ir.Value) -> ir.Value:
    """Address of LANES elements of 32 bits; they are not aligned to more than 4 bytes."""
    return builder.bitcast(_address(context, builder, kind, array, at), WORDS.as_pointer())


def _repeated(builder: ir.IRBuilder, word: ir.Value) -> ir.Value:
    """One word in all lanes."""
    first = builder.insert_element(ir.Constant(WORDS, ir.Undefined), word, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, first, ir.Constant(WORDS, [0] * LANES))


def _popcount(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    kind = vector.type
    name = f"llvm.ctpop.v{kind.count}i{kind.element.width}"
    return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name), [vector])


def _counts_words(context: Any) -> bool:
    """Whether the processor has an instruction for the popcount of words; on bytes LLVM needs fewer elsewhere."""
    _, _, features = context.codegen().magic_tuple()
    return "+avx512vpopcntdq" in features.split(",")


@operation
def zeros(typing: Any) -> Any:
    """0 in all lanes."""
    return lanes(), lambda context, builder, signature, values: ir.Constant(WORDS, [0] * LANES)


@operation
def load(typing: Any, array: Any, at: Any) -> Any:
    """LANES words of an array, from ``at`` on."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(_vector_address(context, builder, signature.args[0], *values), align=4)

    return lanes(array, types.intp), generate


@operation
def store(typing: Any, array: Any, at: Any, vector: Any) -> Any:
    """Write LANES words to an array, from ``at`` on."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array, at, vector = values
        builder.store(vector, _vector_address(context, builder, signature.args[0], array, at), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@operation
def shifted_or(typing: Any, left: Any, right: Any, shift: Any) -> Any:
    """In each lane: left | right << shift."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        left, right, shift = values
        shift = _repeated(builder, builder.trunc(shift, ir.IntType(32)))
        return builder.or_(left, builder.shl(right, shift))

    return lanes(lanes, lanes, types.intp), generate


@operation
def add_mismatches(typing: Any, counts: Any, weights: Any, array: Any, start: Any, offset: Any) -> Any:
    """Add the number of bits in which each word of weights differs from the one word array[start + offset].

    The counts are of words where the processor has such a popcount, else of bytes: `add_total` adds those up.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        counts, weights, *place = values
        word = builder.load(_address(context, builder, signature.args[2], *place))
        differ = builder.xor(weights, _repeated(builder, word))
        if _counts_words(context):
            return builder.add(counts, _popcount(builder, differ))
        more = _popcount(builder, builder.bitcast(differ, BYTES))
        return builder.bitcast(builder.add(builder.bitcast(counts, BYTES), more), WORDS)

    return lanes(lanes, lanes, array, types.intp, types.intp), generate


@operation
def add_total(typing: Any, sums: Any, counts: Any) -> Any:
    """Add to each lane what `add_mismatches` counted in it."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        sums, counts = values
        if not _counts_words(context):
            for width in (8, 16):  # neighbouring bytes, then neighbouring halves
                low = ir.Constant(WORDS, [0x00FF00FF if width == 8 else 0xFFFF] * LANES)
                high = builder.lshr(counts, ir.Constant(WORDS, [width] * LANES))
                counts = builder.add(builder.and_(counts, low), builder.and_(high, low))
        return builder.add(sums, counts)

    return lanes(lanes, lanes), generate


@operation
def within(typing: Any, sums: Any, limits: Any, at: Any) -> Any:
    """Bit i is set where lane i is at most limits[at + i]."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        sums, *place = values
        limit = builder.load(_vector_address(context, builder, signature.args[1], *place), align=4)
        bits = builder.icmp_signed("<=", sums, limit)
        return builder.zext(builder.bitcast(bits, ir.IntType(LANES)), ir.IntType(32))

    return types.uint32(lanes, limits, types.intp), generate


@helper
def pack_plane(image: Any, threshold: Any, plane: Any, words: Any) -> None:
    """Fill a plane: the bits of ``plane.rows`` rows of ``plane.width`` pixels at every position of an image."""
    to = words[plane.at :]
    for q in range(len(image)):
        to[q] = image[q] >= threshold
    # Rows of 1, 2, 4, 8... bits, then of all: the last step may set bits again that are set already.
    width = 1
    while width < plane.width:
        step = min(width, plane.width - width)
        for q in range(0, len(image), LANES):
            store(to, q, shifted_or(load(to, q), load(to, q + step), step))
        width += step
    if plane.rows > 1:
        for q in range(0, len(image), LANES):
            rows = load(to, q)
            for row in range(1, plane.rows):
                rows = shifted_or(rows, load(to, q + row * plane.side), row * width)
            store(to, q, rows)


@helper
def mismatches(words: Any, starts: Any, offsets: Any, weights: Any, at: Any) -> Any:
    """Mismatches of LANES output channels, whose weights begin at ``at``, in the windows at `TILE` starts."""
    s0, s1, s2, s3 = starts
    m0, m1, m2, m3 = zeros(), zeros(), zeros(), zeros()
    for block in range(0, len(offsets), BLOCK):
        c0, c1, c2, c3 = zeros(), zeros(), zeros(), zeros()
        for i in range(block, min(block + BLOCK, len(offsets))):
            w = load(weights, at)
            c0 = add_mismatches(c0, w, words, s0, offsets[i])
            c1 = add_mismatches(c1, w, words, s1, offsets[i])
            c2 = add_mismatches(c2, w, words, s2, offsets[i])
            c3 = add_mismatches(c3, w, words, s3, offsets[i])
            at += LANES
        m0, m1, m2, m3 = add_total(m0, c0), add_total(m1, c1), add_total(m2, c2), add_total(m3, c3)
    return m0, m1, m2, m3


@helper
def convolve(words: Any, layer: Any, starts: Any, offsets: Any, weights: Any, limits: Any, flips: Any) -> None:
    """One block, from its input in ``words`` to its output there. Groups 2 i and 2 i + 1 share word i of a pixel."""
    # Slices and plain variables: LLVM reads fields of a record again after every write to ``words``.
    taps = offsets[layer.offsets : layer.offsets + layer.words]
    first = starts[layer.starts : layer.starts + layer.pixels]
    out = words[layer.target : layer.target + layer.pixels * layer.stride]
    limit = limits[layer.limits : layer.limits + layer.groups * LANES]
    reversed_ = flips[layer.flips : layer.flips + layer.groups]
    stride, size = layer.stride, layer.words * LANES
    rows = weights[layer.weights : layer.weights + layer.groups * size]
    for tile in range(0, len(first), TILE):
        four = first[tile], first[tile + 1], first[tile + 2], first[tile + 3]
        for group in range(len(reversed_)):
            m0, m1, m2, m3 = mismatches(words, four, taps, rows, group * size)
            lane, flip = group * LANES, reversed_[group]
            b0 = within(m0, limit, lane) ^ flip
            b1 = within(m1, limit, lane) ^ flip
            b2 = within(m2, limit, lane) ^ flip
            b3 = within(m3, limit, lane) ^ flip
            to = tile * stride + group // 2
            if group % 2 == 0:
                out[to] = b0
                out[to + stride] = b1
                out[to + 2 * stride] = b2
                out[to + 3 * stride] = b3
            else:
                out[to] |= b0 << LANES
                out[to + stride] |= b1 << LANES
                out[to + 2 * stride] |= b2 << LANES
                out[to + 3 * stride] |= b3 << LANES


@kernel
def run(
    images: NDArray[np.uint8],
    threshold: int,
    planes: NDArray[np.void],
    layers: NDArray[np.void],
    starts: NDArray[np.int64],
    offsets: NDArray[np.int64],
    weights: NDArray[np.uint32],
    limits: NDArray[np.int32],
    flips: NDArray[np.uint32],
    words: NDArray[np.uint32],
    found: NDArray[np.int32],
) -> None:
    """Write the head's mismatches to ``found``, (n, whole groups of lanes). images: (n, pixels); words: scratch."""
    head = layers[len(layers) - 1]
    start = starts[head.starts]
    taps = offsets[head.offsets : head.offsets + head.words]
    for n in range(len(images)):
        for plane in range(len(planes)):
            pack_plane(images[n], threshold, planes[plane], words)
        for number in range(len(layers) - 1):
            convolve(words, layers[number], starts, offsets, weights, limits, flips)
        for group in range(head.groups):
            at = head.weights + group * head.words * LANES
            m, _, _, _ = mismatches(words, (start, start, start, start), taps, weights, at)
            store(found[n], group * LANES, m)


@kernel
def run_block(
    maps: NDArray[np.uint32],
    number: int,
    layers: NDArray[np.void],
    starts: NDArray[np.int64],
    offsets: NDArray[np.int64],
    weights: NDArray[np.uint32],
    limits: NDArray[np.int32],
    flips: NDArray[np.uint32],
) -> None:
    """One block alone, for the benchmark. maps: (n, words), for each image the scratch that `run` leaves behind."""
    for n in range(len(maps)):
        convolve(maps[n], layers[number], starts, offsets, weights, limits, flips)


class Engine:
    """Runs one model on so many threads. It may be called from several threads at a time."""

    def __init__(self, model: PackedModel, threads: int = 1) -> None:
        """`ModelError` for a model that does not hold together, `ThreadsError` for less than one thread."""
        if threads < 1:
            raise ThreadsError(f"threads: {threads}, expected 1 or more")
        self.model = model
        self.threads = threads
        self._plan = lay_out(model, LANES, TILE)

    def dots(self, images: NDArray[np.uint8]) -> NDArray[np.int32]:
        """The head's integer dot products, int32 (n, classes). images: uint8 (n, side, side), else `ModelError`."""
        packed.check_images(self.model, images)
        flat = np.ascontiguousarray(images).reshape(len(images), self.model.side**2)
        flat.flags.writeable = False  # as files give them; Numba would compile once more for others
        weights = self.model.head.weights
        groups = int(self._plan.layers[-1]["groups"])
        found = np.empty((len(images), groups * LANES), np.int32)
        step = _slice_size(len(images), self.threads)
        slices = [slice(start, start + step) for start in range(0, len(images), step)]
        _share(slices, lambda part: self._run(flat[part], found[part]), self.threads)
        return weights[0].size - 2 * found[:, : len(weights)]

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits, float32 (n, classes). images: uint8 (n, side, side), else `ModelError`."""
        return affine(self.model.head, self.dots(images))

    def _run(self, images: NDArray[np.uint8], found: NDArray[np.int32]) -> None:
        plan = self._plan
        run(
            images,
            self.model.input_threshold,
            plan.planes,
            plan.layers,
            plan.starts,
            plan.offsets,
            plan.weights,
            plan.limits,
            plan.flips,
            np.empty(plan.size, np.uint32),
            found,
        )


def _share(slices: list[slice], work: Callable[[slice], None], threads: int) -> None:
    """Do the work on all slices; the calling thread takes its part, so that one slice costs no other thread."""
    waiting = iter(slices)  # every thread takes its next slice here

    def take() -> None:
        for part in waiting:
            work(part)

    others = min(threads, len(slices)) - 1
    if others < 1:
        take()
        return
    with ThreadPoolExecutor(others) as pool:  # for this call: a pool that is kept would not survive a fork
        taken = [pool.submit(take) for _ in range(others)]
        take()
    for future in taken:
        future.result()


def _slice_size(images: int, threads: int) -> int:
    """Images of one slice: equal shares of the threads, in several rounds where there are many."""
    rounds = math.ceil(images / (threads * LARGEST_SLICE))
    return max(math.ceil(images / (threads * max(rounds, 1))), SMALLEST_SLICE)
