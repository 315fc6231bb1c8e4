"""The 1-bit network as C99 for microcontrollers: one header, one source, no libraries, no dynamic memory.

Every feature map is one stream of bits in 32-bit words, lowest bit first: pixel after pixel, the channels of a pixel
together. The channels of the input are its planes. The window of a convolution is copied into consecutive words once,
then compared with the kernel of every output channel: dot = length - 2 * popcount(window xor kernel). With pooling, the
comparisons of all windows of an output pixel are combined in its bits, so no map is stored before pooling.
"""

from __future__ import annotations

from string import Template

import numpy as np
from numpy.typing import NDArray

from bnnlib.packed.model import PackedModel, Shape

WORD_BITS = 32
PER_LINE = {"uint32_t": 8, "int32_t": 12, "uint16_t": 16, "uint8_t": 24, "float": 5}

HEADER = Template("""\
/*
 * A binarized neural network that reads digits, written by `bnn export --format c`.
 *
 * Input: one image of $side x $side bytes, compared with $planes threshold$s. Output: $classes floats and a class.
 * Constant tables: $flash bytes. Working memory: $ram bytes, on the stack, beside what the compiler adds for
 * calls and registers; nothing static, so that calls from several threads do not disturb each other.
 */
#ifndef BNN_MODEL_H
#define BNN_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BNN_SIDE $side
#define BNN_CLASSES $classes

/*
 * Classify one image: BNN_SIDE * BNN_SIDE bytes, row after row from the top, 0 for background to 255 for foreground.
 * Fills logits[0 .. BNN_CLASSES - 1] and returns the class with the largest one, the first where several are equal.
 */
int bnn_predict(const uint8_t *image, float *logits);

#ifdef __cplusplus
}
#endif

#endif
""")

SOURCE = Template("""\
/*
 * A binarized neural network, written by `bnn export --format c`. C99; see bnn_model.h.
 *
 * A bit of 1 stands for +1 and 0 for -1. A feature map is one stream of bits: pixel after pixel, the channels of a
 * pixel together, lowest bit of a word first. Kernels are laid out like the windows they meet, each padded with zero
 * bits to whole words.
 */
#include "bnn_model.h"

/* A valid convolution of stride 1 over a map of side * side pixels; the maximum of each pool * pool of its places. */
typedef struct {
    uint32_t side;
    uint32_t channels;
    uint32_t kernel;
    uint32_t pool;
    uint32_t outputs;
    const uint32_t *weights; /* of each output channel: kernel * kernel * channels bits in whole words */
} bnn_layer;

$tables
/* Number of one bits. GCC and clang know the pattern and use the machine's own instruction where it has one. */
static uint32_t ones(uint32_t x)
{
    x = x - ((x >> 1) & 0x55555555u);
    x = (x & 0x33333333u) + ((x >> 2) & 0x33333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0fu;
    return (x * 0x01010101u) >> 24;
}

/* The `count` (1 to 32) bits of a stream from bit `from` on, in the low end of a word. */
static uint32_t bits_at(const uint32_t *stream, uint32_t from, uint32_t count)
{
    const uint32_t low = from % 32u;
    uint32_t word = stream[from / 32u] >> low;
    if (low + count > 32u) {
        word |= stream[from / 32u + 1u] << (32u - low);
    }
    return count < 32u ? word & ((UINT32_C(1) << count) - 1u) : word;
}

/* Copy the window whose upper left pixel is (y, x) into consecutive bits, padded with zero bits to whole words. */
static void gather(const uint32_t *map, const bnn_layer *layer, uint32_t y, uint32_t x, uint32_t *window)
{
    const uint32_t row_bits = layer->kernel * layer->channels;
    uint32_t word = 0;
    uint32_t used = 0; /* bits of `word`, always fewer than 32 where the next are added */
    for (uint32_t row = 0; row < layer->kernel; row++) {
        const uint32_t from = ((y + row) * layer->side + x) * layer->channels;
        uint32_t count;
        for (uint32_t done = 0; done < row_bits; done += count) {
            count = row_bits - done < 32u - used ? row_bits - done : 32u - used;
            word |= bits_at(map, from + done, count) << used;
            used += count;
            if (used == 32u) {
                *window++ = word;
                word = 0;
                used = 0;
            }
        }
    }
    if (used > 0) {
        *window = word;
    }
}

/* Dot product of a gathered window with the kernel of one output channel. */
static int32_t dot(const uint32_t *window, const bnn_layer *layer, uint32_t output)
{
    const uint32_t length = layer->kernel * layer->kernel * layer->channels;
    const uint32_t words = (length + 31u) / 32u;
    const uint32_t *weights = layer->weights + output * words;
    uint32_t different = 0;
    for (uint32_t i = 0; i < words; i++) {
        different += ones(window[i] ^ weights[i]);
    }
    return (int32_t)length - 2 * (int32_t)different;
}

/* The input bits: of each pixel one for each plane, 1 where the pixel reaches the plane's threshold. */
static void binarize(const uint8_t *image, uint32_t *map)
{
    uint32_t word = 0;
    uint32_t used = 0;
    for (uint32_t pixel = 0; pixel < (uint32_t)BNN_SIDE * BNN_SIDE; pixel++) {
        for (uint32_t plane = 0; plane < PLANES; plane++) {
            word |= (uint32_t)(image[pixel] >= INPUT_THRESHOLDS[plane]) << used;
            if (++used == 32u) {
                *map++ = word;
                word = 0;
                used = 0;
            }
        }
    }
    if (used > 0) {
        *map = word;
    }
}
$convolve
int bnn_predict(const uint8_t *image, float *logits)
{
$buffers
    uint32_t window[$window_words];
    int best = 0;

    binarize(image, even);
$calls
    gather($last, &HEAD, 0, 0, window);
    for (int i = 0; i < BNN_CLASSES; i++) {
        /* Rounded to float by the store, before the sum: compilers fuse the two into one rounding where they may. */
        volatile float product = (float)dot(window, &HEAD, (uint32_t)i) * HEAD_SCALE[i];
        logits[i] = product + HEAD_OFFSET[i];
        if (logits[i] > logits[best]) {
            best = i;
        }
    }
    return best;
}
""")

CONVOLVE = """
/*
 * A convolution, pooling and comparisons. The output bit is (largest dot >= threshold) != flipped: it is set as soon as
 * one of the windows pooled into it reaches the threshold, and reversed when all of them are seen.
 */
static void convolve(const uint32_t *in, const bnn_layer *layer, const int32_t *thresholds, const uint8_t *flipped,
                     uint32_t *window, uint32_t *out)
{
    const uint32_t pool = layer->pool;
    const uint32_t side = (layer->side - layer->kernel + 1u) / pool;
    const uint32_t outputs = layer->outputs;
    for (uint32_t i = 0; i < (side * side * outputs + 31u) / 32u; i++) {
        out[i] = 0;
    }
    for (uint32_t pixel = 0; pixel < side * side; pixel++) {
        const uint32_t first = pixel * outputs; /* bit of the pixel's first channel */
        for (uint32_t place = 0; place < pool * pool; place++) {
            gather(in, layer, pixel / side * pool + place / pool, pixel % side * pool + place % pool, window);
            for (uint32_t i = 0; i < outputs; i++) {
                if (bits_at(out, first + i, 1) == 0 && dot(window, layer, i) >= thresholds[i]) {
                    out[(first + i) / 32u] |= UINT32_C(1) << (first + i) % 32u;
                }
            }
        }
        for (uint32_t i = 0; i < outputs; i++) {
            out[(first + i) / 32u] ^= (uint32_t)flipped[i] << (first + i) % 32u;
        }
    }
}
"""


def generate(model: PackedModel) -> dict[str, str]:
    """The network as C99: the texts of ``bnn_model.h`` and ``bnn_model.c``, by file name."""
    maps = _map_words(model)
    kernels = _kernels(model)
    window_words = max(words.shape[1] for words in kernels)
    buffers = {"even": max(maps[::2]), "odd": max(maps[1::2], default=0)}
    planes = len(model.input_thresholds)
    header = HEADER.substitute(
        side=model.side,
        planes=planes,
        s="" if planes == 1 else "s",
        classes=len(model.head.weights),
        flash=_table_bytes(model),
        ram=(sum(buffers.values()) + window_words) * WORD_BITS // 8,
    )
    names = ["even", "odd"] * len(kernels)
    source = SOURCE.substitute(
        tables=_tables(model),
        convolve=CONVOLVE if model.blocks else "",
        buffers="\n".join(f"    uint32_t {name}[{words}];" for name, words in buffers.items() if words),
        window_words=window_words,
        calls="\n".join(
            f"    convolve({names[i]}, &BLOCK_{i}, BLOCK_{i}_THRESHOLDS, BLOCK_{i}_FLIPPED, window, {names[i + 1]});"
            for i in range(len(model.blocks))
        ),
        last=names[len(model.blocks)],
    )
    return {"bnn_model.h": header, "bnn_model.c": source}


def kernel_words(weights: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Kernels laid out like windows: bool (out, in, kernel, kernel) -> uint32 (out, words), padded with zero bits."""
    bits = weights.transpose(0, 2, 3, 1).reshape(len(weights), -1)  # (out, kernel * kernel * in)
    padded = np.pad(bits, ((0, 0), (0, -bits.shape[1] % WORD_BITS)))
    return np.packbits(padded, axis=1, bitorder="little").view("<u4").astype(np.uint32)


def _kernels(model: PackedModel) -> list[NDArray[np.uint32]]:
    """`kernel_words` of each layer, the head's last."""
    return [*(kernel_words(block.weights) for block in model.blocks), kernel_words(model.head.weights)]


def _map_words(model: PackedModel) -> list[int]:
    """Words of the input and of each block's output."""
    channels = [len(model.input_thresholds), *(len(block.weights) for block in model.blocks)]
    return [-(-side * side * depth // WORD_BITS) for side, depth in zip(model.sides(), channels, strict=True)]


def _tables(model: PackedModel) -> str:
    sides, shapes = model.sides(), model.shapes()
    parts = [
        f"#define PLANES {len(model.input_thresholds)}u\n",
        _array("INPUT_THRESHOLDS", "uint16_t", [str(threshold) for threshold in model.input_thresholds]),
    ]
    for i, block in enumerate(model.blocks):
        parts += [
            _layer(f"BLOCK_{i}", sides[i], shapes[i], block.weights),
            _array(f"BLOCK_{i}_THRESHOLDS", "int32_t", [str(t) for t in block.thresholds.tolist()]),
            _array(f"BLOCK_{i}_FLIPPED", "uint8_t", [str(int(f)) for f in block.flipped.tolist()]),
        ]
    parts += [
        _layer("HEAD", sides[-1], shapes[-1], model.head.weights),
        _array("HEAD_SCALE", "float", _floats(model.head.scale)),
        _array("HEAD_OFFSET", "float", _floats(model.head.offset)),
    ]
    return "\n".join(parts)


def _layer(name: str, side: int, shape: Shape, weights: NDArray[np.bool_]) -> str:
    words = [f"0x{word:08x}u" for word in kernel_words(weights).ravel().tolist()]
    table = _array(f"{name}_WEIGHTS", "uint32_t", words)
    sizes = f"{side}, {shape.in_channels}, {shape.kernel}, {shape.pool}, {shape.out_channels}"
    return f"{table}\nstatic const bnn_layer {name} = {{{sizes}, {name}_WEIGHTS}};\n"


def _array(name: str, kind: str, values: list[str]) -> str:
    step = PER_LINE[kind]
    lines = ["    " + ", ".join(values[i : i + step]) + "," for i in range(0, len(values), step)]
    return f"static const {kind} {name}[{len(values)}] = {{\n" + "\n".join(lines) + "\n};\n"


def _floats(values: NDArray[np.float32]) -> list[str]:
    """Hexadecimal constants, which every compiler reads exactly."""
    return [float(value).hex() + "f" for value in values]


def _table_bytes(model: PackedModel) -> int:
    """Bytes of all constant tables of the source."""
    weights = sum(words.nbytes for words in _kernels(model))
    channels = sum(len(block.weights) for block in model.blocks)
    return 2 * len(model.input_thresholds) + weights + 5 * channels + model.head.scale.nbytes + model.head.offset.nbytes
