"""Vectors of 32-bit words in compiled code: a type for Numba and the operations on it, written as LLVM code.

A vector has a word for each of its lanes, and a lane computes for one output channel. LLVM maps the operations to the
registers of the processor, so the same code runs on AVX-512, AVX2, SSE and NEON. All arithmetic is on integers, so all
processors give the same numbers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from bnnlib.packed.jit import Decorator

operation: Decorator = intrinsic  # compiled from the LLVM code that it generates


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


def has_word_popcount(context: Any) -> bool:
    """Whether the processor has a popcount of words. Without one, LLVM needs fewer instructions to count in bytes."""
    _, _, features = context.codegen().magic_tuple()
    return "+avx512vpopcntdq" in features.split(",")


def _vector(builder: ir.IRBuilder, data: ir.Value, at: ir.Value, vector: ir.Type) -> ir.Value:
    """Address of a vector of words, aligned to 4 bytes."""
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
    """Pointer to element ``at`` of a contiguous array, or ``at`` elements behind another pointer."""

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
    """The words that begin at ``at``, as many as the vector ``like`` has."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data, at, like = values
        return builder.load(_vector(builder, data, at, like.type), align=4)

    return like(data, types.intp, like), generate


@operation
def store(typing: Any, data: Any, at: Any, vector: Any) -> Any:
    """Write the words of a vector, the first at ``at``."""

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
    """Whether `add_mismatches` counts in words; a constant, so LLVM drops the code for other processors."""
    return types.boolean(), lambda context, builder, signature, values: ir.Constant(
        ir.IntType(1), has_word_popcount(context)
    )


@operation
def add_mismatches(typing: Any, counts: Any, weights: Any, words: Any, at: Any) -> Any:
    """Add in each lane the number of bits in which its word of weights differs from the one word at an index.

    The counts are words on a processor with a popcount of words, else four bytes in a word, which `add_total` sums.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        counts, weights, words, at = values
        word = builder.load(builder.gep(words, [at]))
        differ = builder.xor(weights, _repeated(builder, word, weights.type))
        if has_word_popcount(context):
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
    """A word whose bit i is set where lane i of ``sums`` is at most lane i of ``limits``."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        bits = builder.icmp_signed("<=", *values)
        return builder.zext(builder.bitcast(bits, ir.IntType(bits.type.count)), ir.IntType(32))

    return types.uint32(sums, sums), generate
