"""The compiled kernels of training: a Fourier transform of maps of 20 x 20, and the steps of the blocks around it.

Maps are laid out (images, height, width, channels), for the transforms with the channels in groups of `LANES`. A
kernel works on the images (parts, frequencies) ``start`` to ``stop`` and writes theirs alone, sums included, so that no
result depends on the number of threads.

The transform is real and separable. Along one dimension 20 reals become the 11 frequencies that determine all 20, by
the prime-factor algorithm (Good 1958, Thomas 1963): 20 = 4 * 5, and as 4 and 5 have no common factor, five transforms
of length 4 followed by four of length 5 do, with nothing between them. Position k is (5 a + 4 b) mod 20; frequency u
comes out where its remainders u mod 4 and u mod 5 say. So the order of the 20 results is: 0; 16, 12; 10; 6, 2; 5, 1, 9,
17, 13, of which 0 and 10 are one real number, the others a real and an imaginary part. 16, 12, 17 and 13 stand for
their conjugates 4, 8, 3 and 7.

What a kernel calls is in this file too, because Numba's cache looks for changes in a kernel's own file only.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from bnnlib.packed.jit import Decorator, kernel

LANES = 16  # channels of a group: float32 numbers of one AVX-512 register, of two AVX2 registers
SIDE = 20  # of the transform
REALS = (0, 10)
COMPLEXES = (16, 12, 6, 2, 5, 1, 9, 17, 13)
KERNEL = 9  # side of the blocks' kernels
ROW = 2**KERNEL - 1  # the bits of one row of a kernel
PATCH_WORDS = 3  # of the first block's patches: each holds three rows

ZERO, ONE = np.float32(0), np.float32(1)
COS1, COS2 = np.float32(math.cos(2 * math.pi / 5)), np.float32(math.cos(4 * math.pi / 5))
SIN1, SIN2 = np.float32(math.sin(2 * math.pi / 5)), np.float32(math.sin(4 * math.pi / 5))

# The two-dimensional frequencies (row, column) in the order in which `_combine` writes them, 202 for 400 reals.
FREQUENCIES = tuple(
    [(u, v) for u in REALS for v in REALS]
    + [(u, v) for u in REALS for v in COMPLEXES]
    + [pair for u in COMPLEXES for pair in [(u, v) for v in REALS] + [(u, w) for v in COMPLEXES for w in (v, -v)]]
)
# How often each stands in the full spectrum: its conjugate is not written.
COUNTS = tuple(1 if u in REALS and v in REALS else 2 for u, v in FREQUENCIES)


Dots = NDArray[np.int16] | NDArray[np.float32]  # dot products: whole numbers of signs, else real ones

operation: Decorator = intrinsic  # in LLVM's terms
helper: Decorator = numba.njit(forceinline=True)  # inlined by LLVM: Numba's own way doubles the time to compile


@helper
def _place(number: Any) -> Any:
    """Where the real part of complex frequency ``number`` stands among the 20 results; the imaginary part follows."""
    return 1 + 2 * number + (1 if number >= 2 else 0)


@helper
def _fourth(x0: Any, x1: Any, x2: Any, x3: Any) -> Any:
    """Transform of 4 reals: frequencies 0 and 2, then real and imaginary part of 1."""
    even, odd = x0 + x2, x1 + x3
    return even + odd, even - odd, x0 - x2, x3 - x1


@helper
def _fourth_back(y0: Any, y2: Any, re: Any, im: Any) -> Any:
    """The transpose of `_fourth`."""
    even, odd = y0 + y2, y0 - y2
    return even + re, odd - im, even - re, odd + im


@helper
def _fifth(x0: Any, x1: Any, x2: Any, x3: Any, x4: Any) -> Any:
    """Transform of 5 reals: frequency 0, then real and imaginary part of 1 and of 2."""
    e1, o1, e2, o2 = x1 + x4, x1 - x4, x2 + x3, x2 - x3
    re1, re2 = x0 + COS1 * e1 + COS2 * e2, x0 + COS2 * e1 + COS1 * e2
    return x0 + e1 + e2, re1, -(SIN1 * o1 + SIN2 * o2), re2, SIN1 * o2 - SIN2 * o1


@helper
def _fifth_back(y0: Any, re1: Any, im1: Any, re2: Any, im2: Any) -> Any:
    """The transpose of `_fifth`."""
    e1, o1 = y0 + COS1 * re1 + COS2 * re2, SIN1 * im1 + SIN2 * im2
    e2, o2 = y0 + COS2 * re1 + COS1 * re2, SIN2 * im1 - SIN1 * im2
    return y0 + re1 + re2, e1 - o1, e2 - o2, e2 + o2, e1 + o1


@helper
def _forward(s: Any, base: Any, step: Any) -> None:
    """Transform in place, in each lane, the 20 reals that stand ``step`` apart from ``base`` on."""
    for i in range(base, base + LANES):
        a0, b0, r0, i0 = _fourth(s[i], s[i + 5 * step], s[i + 10 * step], s[i + 15 * step])
        a1, b1, r1, i1 = _fourth(s[i + 4 * step], s[i + 9 * step], s[i + 14 * step], s[i + 19 * step])
        a2, b2, r2, i2 = _fourth(s[i + 8 * step], s[i + 13 * step], s[i + 18 * step], s[i + 3 * step])
        a3, b3, r3, i3 = _fourth(s[i + 12 * step], s[i + 17 * step], s[i + 2 * step], s[i + 7 * step])
        a4, b4, r4, i4 = _fourth(s[i + 16 * step], s[i + step], s[i + 6 * step], s[i + 11 * step])
        s[i], s[i + step], s[i + 2 * step], s[i + 3 * step], s[i + 4 * step] = _fifth(a0, a1, a2, a3, a4)
        y0, y1, y2, y3, y4 = _fifth(b0, b1, b2, b3, b4)
        s[i + 5 * step], s[i + 6 * step], s[i + 7 * step], s[i + 8 * step], s[i + 9 * step] = y0, y1, y2, y3, y4
        # The transform of the complex numbers r + j i, from those of their two parts.
        s[i + 10 * step], p, q, t, u = _fifth(r0, r1, r2, r3, r4)
        s[i + 11 * step], v, w, x, y = _fifth(i0, i1, i2, i3, i4)
        s[i + 12 * step], s[i + 13 * step] = p - w, q + v
        s[i + 14 * step], s[i + 15 * step] = p + w, v - q
        s[i + 16 * step], s[i + 17 * step] = t - y, u + x
        s[i + 18 * step], s[i + 19 * step] = t + y, x - u


@helper
def _back(s: Any, base: Any, step: Any) -> None:
    """The transpose of `_forward`."""
    for i in range(base, base + LANES):
        a0, a1, a2, a3, a4 = _fifth_back(s[i], s[i + step], s[i + 2 * step], s[i + 3 * step], s[i + 4 * step])
        b0, b1, b2, b3, b4 = _fifth_back(
            s[i + 5 * step], s[i + 6 * step], s[i + 7 * step], s[i + 8 * step], s[i + 9 * step]
        )
        p, q, t, u = s[i + 12 * step], s[i + 13 * step], s[i + 14 * step], s[i + 15 * step]
        v, w, x, y = s[i + 16 * step], s[i + 17 * step], s[i + 18 * step], s[i + 19 * step]
        r0, r1, r2, r3, r4 = _fifth_back(s[i + 10 * step], p + t, q - u, v + x, w - y)
        i0, i1, i2, i3, i4 = _fifth_back(s[i + 11 * step], q + u, t - p, w + y, x - v)
        s[i], s[i + 5 * step], s[i + 10 * step], s[i + 15 * step] = _fourth_back(a0, b0, r0, i0)
        s[i + 4 * step], s[i + 9 * step], s[i + 14 * step], s[i + 19 * step] = _fourth_back(a1, b1, r1, i1)
        s[i + 8 * step], s[i + 13 * step], s[i + 18 * step], s[i + 3 * step] = _fourth_back(a2, b2, r2, i2)
        s[i + 12 * step], s[i + 17 * step], s[i + 2 * step], s[i + 7 * step] = _fourth_back(a3, b3, r3, i3)
        s[i + 16 * step], s[i + step], s[i + 6 * step], s[i + 11 * step] = _fourth_back(a4, b4, r4, i4)


@helper
def _write_spectrum(scratch: Any, size: Any, out: Any, n: Any, group: Any) -> None:
    """Transform the map of ``size`` rows in scratch (20 * 20 * LANES), the rest zeros, and write it to ``out``."""
    for y in range(size):
        _forward(scratch, y * SIDE * LANES, LANES)
    for x in range(SIDE):
        _forward(scratch, x * LANES, SIDE * LANES)
    _combine(scratch.reshape(SIDE, SIDE, LANES), out, n, group)


@helper
def _combine(s: Any, out: Any, n: Any, group: Any) -> None:
    """Complex numbers from the real transforms of rows and columns: X(u, v) = A + j B and X(u, -v) = A - j B."""
    f = 0
    for u in REALS:
        for v in REALS:
            for i in range(LANES):
                out[f, n, 0, group, i], out[f, n, 1, group, i] = s[u // 2, v // 2, i], ZERO
            f += 1
    for u in REALS:
        for number in range(len(COMPLEXES)):
            v = _place(number)
            for i in range(LANES):
                out[f, n, 0, group, i], out[f, n, 1, group, i] = s[u // 2, v, i], s[u // 2, v + 1, i]
            f += 1
    for row in range(len(COMPLEXES)):
        u = _place(row)
        for v in REALS:
            for i in range(LANES):
                out[f, n, 0, group, i], out[f, n, 1, group, i] = s[u, v // 2, i], s[u + 1, v // 2, i]
            f += 1
        for number in range(len(COMPLEXES)):
            v = _place(number)
            for i in range(LANES):
                a, a_im, b, b_im = s[u, v, i], s[u + 1, v, i], s[u, v + 1, i], s[u + 1, v + 1, i]
                out[f, n, 0, group, i], out[f, n, 1, group, i] = a - b_im, a_im + b
                out[f + 1, n, 0, group, i], out[f + 1, n, 1, group, i] = a + b_im, a_im - b
            f += 2


@helper
def _read_spectrum(spectrum: Any, n: Any, group: Any, size: Any, scratch: Any) -> None:
    """The transpose of `_write_spectrum`: the first ``size`` rows of the map; the spectrum is weighted already."""
    _separate(spectrum, n, group, scratch.reshape(SIDE, SIDE, LANES))
    for x in range(SIDE):
        _back(scratch, x * LANES, SIDE * LANES)
    for y in range(size):
        _back(scratch, y * SIDE * LANES, LANES)


@helper
def _separate(spectrum: Any, n: Any, group: Any, s: Any) -> None:
    """The transpose of `_combine`."""
    f = 0
    for u in REALS:
        for v in REALS:
            for i in range(LANES):
                s[u // 2, v // 2, i] = spectrum[f, n, 0, group, i]
            f += 1
    for u in REALS:
        for number in range(len(COMPLEXES)):
            v = _place(number)
            for i in range(LANES):
                s[u // 2, v, i], s[u // 2, v + 1, i] = spectrum[f, n, 0, group, i], spectrum[f, n, 1, group, i]
            f += 1
    for row in range(len(COMPLEXES)):
        u = _place(row)
        for v in REALS:
            for i in range(LANES):
                s[u, v // 2, i], s[u + 1, v // 2, i] = spectrum[f, n, 0, group, i], spectrum[f, n, 1, group, i]
            f += 1
        for number in range(len(COMPLEXES)):
            v = _place(number)
            for i in range(LANES):
                re, im = spectrum[f, n, 0, group, i], spectrum[f, n, 1, group, i]
                re2, im2 = spectrum[f + 1, n, 0, group, i], spectrum[f + 1, n, 1, group, i]
                s[u, v, i], s[u, v + 1, i] = re + re2, im - im2
                s[u + 1, v, i], s[u + 1, v + 1, i] = im + im2, re2 - re
            f += 2


@kernel
def map_to_spectrum(start: int, stop: int, maps: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Spectra of maps padded with zeros: (n, size, size, groups, lanes) -> (frequencies, n, 2, groups, lanes)."""
    size = maps.shape[1]
    flat = np.zeros(SIDE * SIDE * LANES, np.float32)
    scratch = flat.reshape(SIDE, SIDE, LANES)
    for n in range(start, stop):
        for group in range(maps.shape[3]):
            flat[:] = 0
            for y in range(size):
                for x in range(size):
                    for i in range(LANES):
                        scratch[y, x, i] = maps[n, y, x, group, i]
            _write_spectrum(flat, size, out, n, group)


@kernel
def spectrum_to_map(start: int, stop: int, spectrum: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """The first rows and columns of the maps: (frequencies, n, 2, groups, lanes) -> (n, size, size, groups, lanes)."""
    size = out.shape[1]
    flat = np.empty(SIDE * SIDE * LANES, np.float32)
    scratch = flat.reshape(SIDE, SIDE, LANES)
    for n in range(start, stop):
        for group in range(out.shape[3]):
            _read_spectrum(spectrum, n, group, size, flat)
            for y in range(size):
                for x in range(size):
                    for i in range(LANES):
                        out[n, y, x, group, i] = scratch[y, x, i]


@kernel
def kernel_matrices(
    start: int, stop: int, spectrum: NDArray[np.float32], weights: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """A real matrix for each frequency that multiplies by the conjugates of a kernel's spectrum, times a weight.

    (re - i im)(a + i b) = (re a + im b) + i (re b - im a). ``start`` and ``stop`` are frequencies. spectrum:
    (frequencies, out, 2, in); weights: (frequencies,); out: (frequencies, 2 out', 2 in), out' >= out.
    """
    channels, inputs, outputs = spectrum.shape[1], spectrum.shape[3], out.shape[1] // 2
    for f in range(start, stop):
        out[f] = 0
        for o in range(channels):
            for i in range(inputs):
                real, imaginary = spectrum[f, o, 0, i] * weights[f], spectrum[f, o, 1, i] * weights[f]
                out[f, o, i], out[f, o, inputs + i] = real, imaginary
                out[f, outputs + o, i], out[f, outputs + o, inputs + i] = -imaginary, real


@kernel
def products_to_spectrum(
    start: int, stop: int, products: NDArray[np.float32], weights: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Spectrum of a kernel's gradient from the products of its real matrices, times a weight.

    ``start`` and ``stop`` are frequencies. products: (parts, frequencies, 2 out', 2 in), to be added up; weights:
    (frequencies,); out: (frequencies, out, 2, in), out <= out'.
    """
    outputs, inputs = products.shape[2] // 2, out.shape[3]
    for f in range(start, stop):
        for o in range(out.shape[1]):
            for i in range(inputs):
                out[f, o, 0, i] = out[f, o, 1, i] = ZERO
            for part in range(products.shape[0]):
                top, low = products[part, f, o], products[part, f, outputs + o]
                for i in range(inputs):
                    out[f, o, 0, i] += top[i] + low[inputs + i]
                    out[f, o, 1, i] += top[inputs + i] - low[i]
            for i in range(inputs):
                out[f, o, 0, i] *= weights[f]
                out[f, o, 1, i] *= weights[f]


@operation
def _popcount(typing: Any, word: Any) -> Any:
    """Number of bits that are set in 32; NumPy's own is not known to Numba."""
    return types.uint32(types.uint32), lambda context, builder, signature, values: builder.ctpop(values[0])


@kernel
def pack_rows(start: int, stop: int, images: NDArray[np.uint8], threshold: int, rows: NDArray[np.uint32]) -> None:
    """The bits of each row of pixels, the leftmost lowest: (n, 28, 28) -> (n, 28)."""
    for n in range(start, stop):
        for y in range(images.shape[1]):
            bits = 0
            for x in range(images.shape[2]):
                bits |= (images[n, y, x] >= threshold) << x
            rows[n, y] = np.uint32(bits)


@kernel
def convolve_rows(
    start: int, stop: int, rows: NDArray[np.uint32], weights: NDArray[np.uint32], dots: NDArray[np.int16]
) -> None:
    """The first block's dot products, by XNOR and popcount on words of three rows of a patch.

    rows: (n, 28); weights: (3, channels), the bits of three rows of a kernel each; dots: (n, 20, 20, channels).
    """
    for n in range(start, stop):
        for y in range(dots.shape[1]):
            for x in range(dots.shape[2]):
                top, middle, low = _patch(rows, n, y, x), _patch(rows, n, y + 3, x), _patch(rows, n, y + 6, x)
                for c in range(dots.shape[3]):
                    differ = _popcount(top ^ weights[0, c]) + _popcount(middle ^ weights[1, c])
                    differ += _popcount(low ^ weights[2, c])
                    dots[n, y, x, c] = KERNEL * KERNEL - 2 * np.int32(differ)


@helper
def _patch(rows: Any, n: Any, y: Any, x: Any) -> Any:
    """Nine pixels of each of three rows as one word."""
    first, second, third = rows[n, y] >> x & ROW, rows[n, y + 1] >> x & ROW, rows[n, y + 2] >> x & ROW
    return np.uint32(first | second << KERNEL | third << 2 * KERNEL)


@kernel
def convolve_words(
    start: int,
    stop: int,
    words: NDArray[np.uint32],
    weights: NDArray[np.uint32],
    length: int,
    dots: NDArray[np.int16],
) -> None:
    """A later block's dot products of ``length`` signs each, by XNOR and popcount on words of a pixel's channels.

    words: (n, side, side), at most 32 channels; weights: (9, 9, lanes); dots: (n, side - 8, side - 8, lanes), so that a
    block has at most `LANES` output channels.
    """
    differ = np.empty(LANES, np.uint32)
    for n in range(start, stop):
        for y in range(dots.shape[1]):
            for x in range(dots.shape[2]):
                differ[:] = 0
                for row in range(KERNEL):
                    for i in range(LANES):
                        differ[i] += _row_mismatches(words, n, y + row, x, weights, row, i)
                for i in range(LANES):
                    dots[n, y, x, i] = length - 2 * np.int32(differ[i])


@helper
def _row_mismatches(w: Any, n: Any, y: Any, x: Any, k: Any, row: Any, i: Any) -> Any:
    """Mismatches in one row of a kernel, spelt out so that the sum stays in a register."""
    return (
        _popcount(w[n, y, x] ^ k[row, 0, i])
        + _popcount(w[n, y, x + 1] ^ k[row, 1, i])
        + _popcount(w[n, y, x + 2] ^ k[row, 2, i])
        + _popcount(w[n, y, x + 3] ^ k[row, 3, i])
        + _popcount(w[n, y, x + 4] ^ k[row, 4, i])
        + _popcount(w[n, y, x + 5] ^ k[row, 5, i])
        + _popcount(w[n, y, x + 6] ^ k[row, 6, i])
        + _popcount(w[n, y, x + 7] ^ k[row, 7, i])
        + _popcount(w[n, y, x + 8] ^ k[row, 8, i])
    )


@kernel
def sum_dots(start: int, stop: int, dots: NDArray[np.int16], sums: NDArray[np.int64]) -> None:
    """Sum and sum of squares over the pixels of an image: (n, size, size, channels) -> (n, 2, channels)."""
    channels = dots.shape[3]
    total, squares = np.empty(channels, np.int32), np.empty(channels, np.int32)
    for n in range(start, stop):
        sums[n] = 0
        for y in range(dots.shape[1]):
            total[:] = 0
            squares[:] = 0  # a row at a time: at most 20 values of at most 2592, and 20 * 2592**2 < 2**31
            for x in range(dots.shape[2]):
                for c in range(channels):
                    dot = np.int32(dots[n, y, x, c])
                    total[c] += dot
                    squares[c] += dot * dot
            for c in range(channels):
                sums[n, 0, c] += total[c]
                sums[n, 1, c] += squares[c]


@kernel
def sign_words(
    start: int, stop: int, dots: NDArray[np.int16], affine: NDArray[np.float32], words: NDArray[np.uint32]
) -> None:
    """Bit c of a pixel's word is set where dot * affine[0] + affine[1] >= 0 in channel c.

    dots: (n, size, size, at least channels); affine: (2, channels), at most 32; words: (n, size, size).
    """
    for n in range(start, stop):
        for y in range(dots.shape[1]):
            for x in range(dots.shape[2]):
                word = np.uint32(0)
                for c in range(affine.shape[1]):
                    z = np.float32(dots[n, y, x, c]) * affine[0, c] + affine[1, c]
                    word |= np.uint32(z >= ZERO) << np.uint32(c)
                words[n, y, x] = word


@kernel
def signs_to_spectrum(start: int, stop: int, words: NDArray[np.uint32], out: NDArray[np.float32]) -> None:
    """`map_to_spectrum` of the signs that words hold: (n, size, size) -> (frequencies, n, 2, groups, lanes)."""
    size = words.shape[1]
    flat = np.zeros(SIDE * SIDE * LANES, np.float32)
    scratch = flat.reshape(SIDE, SIDE, LANES)
    for n in range(start, stop):
        for group in range(out.shape[3]):
            flat[:] = 0
            for y in range(size):
                for x in range(size):
                    word = np.int32(words[n, y, x] >> np.uint32(group * LANES))
                    for i in range(LANES):
                        scratch[y, x, i] = np.float32((word >> np.int32(i) & 1) * 2 - 1)
            _write_spectrum(flat, size, out, n, group)


@kernel
def gradient_to_spectrum(
    start: int,
    stop: int,
    g: NDArray[np.float32],
    dots: Dots,
    slope: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """`map_to_spectrum` of the dot products' gradient, slope[0] * g + slope[1] * dots + slope[2] in each channel.

    g, dots: (n, size, size, groups, lanes); slope: (3, groups, lanes); out: (frequencies, n, 2, groups, lanes).
    """
    size = dots.shape[1]
    flat = np.zeros(SIDE * SIDE * LANES, np.float32)
    scratch = flat.reshape(SIDE, SIDE, LANES)
    for n in range(start, stop):
        for group in range(dots.shape[3]):
            flat[:] = 0
            for y in range(size):
                for x in range(size):
                    for i in range(LANES):
                        dot = np.float32(dots[n, y, x, group, i])
                        scratch[y, x, i] = slope[0, group, i] * g[n, y, x, group, i] + slope[1, group, i] * dot
                        scratch[y, x, i] += slope[2, group, i]
            _write_spectrum(flat, size, out, n, group)


@kernel
def spectrum_to_gradient(
    start: int,
    stop: int,
    spectrum: NDArray[np.float32],
    dots: Dots,
    affine: NDArray[np.float32],
    low: np.float32,
    high: np.float32,
    g: NDArray[np.float32],
    sums: NDArray[np.float32],
) -> None:
    """`spectrum_to_map` where low <= z <= high, z = dot * affine[0] + affine[1], else 0: back through an activation.

    spectrum: (frequencies, n, 2, groups, lanes); dots and the result g: (n, size, size, groups, lanes); affine: (2,
    groups, lanes); sums: (n, 2, groups, lanes), those of g and of g * dot over the pixels.
    """
    size = dots.shape[1]
    flat = np.empty(SIDE * SIDE * LANES, np.float32)
    scratch = flat.reshape(SIDE, SIDE, LANES)
    state = np.empty((4, LANES), np.float32)  # one array: LLVM gives up where it has many to tell apart
    for n in range(start, stop):
        for group in range(dots.shape[3]):
            _read_spectrum(spectrum, n, group, size, flat)
            for i in range(LANES):
                state[0, i], state[1, i] = affine[0, group, i], affine[1, group, i]
                state[2, i], state[3, i] = ZERO, ZERO
            for y in range(size):
                for x in range(size):
                    for i in range(LANES):
                        dot = np.float32(dots[n, y, x, group, i])
                        z = dot * state[0, i] + state[1, i]
                        passed = scratch[y, x, i] if low <= z and z <= high else ZERO
                        g[n, y, x, group, i] = passed
                        state[2, i] += passed
                        state[3, i] += passed * dot
            for i in range(LANES):
                sums[n, 0, group, i], sums[n, 1, group, i] = state[2, i], state[3, i]


@kernel
def tabulate_rows(
    start: int,
    stop: int,
    rows: NDArray[np.uint32],
    g: NDArray[np.float32],
    dots: NDArray[np.int16],
    slope: NDArray[np.float32],
    table: NDArray[np.float32],
) -> None:
    """Sums of the first block's gradients by the nine pixels they met: all that the weights' gradient needs.

    Pixels are bits, so that one row of a patch is one of 512 patterns. rows: (n, 28); g, dots, slope: see
    `gradient_to_spectrum`, channels in one dimension; table: (parts, row of the kernel, pattern, channels). A part
    holds an equal share of the images, and ``start`` and ``stop`` are parts.
    """
    parts, images, channels = table.shape[0], g.shape[0], g.shape[3]
    gradient = np.empty(channels, np.float32)
    for part in range(start, stop):
        table[part] = 0
        for n in range(images * part // parts, images * (part + 1) // parts):
            for y in range(g.shape[1]):
                for x in range(g.shape[2]):
                    for c in range(channels):
                        dot = np.float32(dots[n, y, x, c])
                        gradient[c] = slope[0, c] * g[n, y, x, c] + slope[1, c] * dot + slope[2, c]
                    for row in range(KERNEL):
                        sums = table[part, row, rows[n, y + row] >> x & ROW]
                        for c in range(channels):
                            sums[c] += gradient[c]


@operation
def _half(typing: Any, x: Any) -> Any:
    """The nearest IEEE half value of a number that is not negative, half to even, as a float32.

    By arithmetic on its bits: LLVM's own conversion needs a function that Numba lacks where the processor has no
    instruction for it.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        [x] = values
        word, real = ir.IntType(32), ir.FloatType()
        bits = builder.bitcast(x, word)
        # A half has 13 bits less of the fraction: half a step is added, less a bit where the last that stays is even.
        odd = builder.and_(builder.lshr(bits, word(13)), word(1))
        kept = builder.and_(builder.add(bits, builder.add(odd, word(0xFFF))), word(~0x1FFF & 0xFFFFFFFF))
        normal = builder.bitcast(kept, real)
        # Below 2**-14 halves lie 2**-24 apart, as float32 numbers from 0.5 on do.
        tiny = builder.fsub(builder.fadd(x, real(0.5)), real(0.5))
        rounded = builder.select(builder.fcmp_ordered("<", x, real(2**-14)), tiny, normal)
        infinite = builder.select(builder.fcmp_ordered(">=", normal, real(65536)), real(math.inf), rounded)
        return builder.select(builder.fcmp_unordered("uno", x, x), x, infinite)

    return types.float32(types.float32), generate


@helper
def _activated(z: Any, bits: Any) -> Any:
    """`quantizers.quantize_activation` of one number, for 2 bits and more."""
    positive = ZERO if z < ZERO else z  # NaN stays NaN
    if bits == 16:
        return _half(positive)
    if bits == 32:
        return positive
    levels = np.float32((1 << bits) - 1)
    return np.rint((ONE if positive > ONE else positive) * levels) / levels


@kernel
def activated_to_spectrum(
    start: int, stop: int, y: NDArray[np.float32], affine: NDArray[np.float32], bits: int, out: NDArray[np.float32]
) -> None:
    """`map_to_spectrum` of the activations of y * affine[0] + affine[1] in each channel, ``bits`` wide.

    y: (n, size, size, groups, lanes); affine: (2, groups, lanes); out: (frequencies, n, 2, groups, lanes).
    """
    size = y.shape[1]
    flat = np.zeros(SIDE * SIDE * LANES, np.float32)
    scratch = flat.reshape(SIDE, SIDE, LANES)
    for n in range(start, stop):
        for group in range(y.shape[3]):
            flat[:] = 0
            for row in range(size):
                for x in range(size):
                    for i in range(LANES):
                        z = y[n, row, x, group, i] * affine[0, group, i] + affine[1, group, i]
                        scratch[row, x, i] = _activated(z, bits)
            _write_spectrum(flat, size, out, n, group)


@kernel
def sum_map(start: int, stop: int, y: NDArray[np.float32], sums: NDArray[np.float64]) -> None:
    """Sum and sum of squares over the pixels of an image: (n, size, size, channels) -> (n, 2, channels)."""
    channels = y.shape[3]
    total, squares = np.empty(channels, np.float32), np.empty(channels, np.float32)
    for n in range(start, stop):
        sums[n] = 0
        for row in range(y.shape[1]):
            total[:] = 0
            squares[:] = (
                0  # a row at a time: sums of at most 20 float32 numbers err by at most 20 * 2**-24 of their size
            )
            for x in range(y.shape[2]):
                for c in range(channels):
                    total[c] += y[n, row, x, c]
                    squares[c] += y[n, row, x, c] * y[n, row, x, c]
            for c in range(channels):
                sums[n, 0, c] += total[c]
                sums[n, 1, c] += squares[c]
