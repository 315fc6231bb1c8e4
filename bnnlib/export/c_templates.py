"""The text of the C code that `c_code` fills in."""

from __future__ import annotations

from string import Template
from typing import Any

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
$macro
$declared/*
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
/* Add the head's dot products of one image. */
static void add_dots(const uint8_t *image, int32_t *dots)
{
$buffers
    uint32_t window[$window_words];

    binarize(image, even);
$calls
    gather($last, &HEAD, 0, 0, window);
    for (int i = 0; i < BNN_CLASSES; i++) {
        dots[i] += dot(window, &HEAD, (uint32_t)i);
    }
}
$see
$signature
{
    int32_t dots[BNN_CLASSES] = {0};
    int best = 0;

$looks
    for (int i = 0; i < BNN_CLASSES; i++) {
        /* Rounded to float by the store, before the sum: compilers fuse the two into one rounding where they may. */
        volatile float product = (float)dots[i] * $scale[i];
        logits[i] = product + HEAD_OFFSET[i];
        if (logits[i] > logits[best]) {
            best = i;
        }
    }
    return best;
}
$plain""")

# What differs where the model has several passes. ``bytes``: of the working memory, for each pixel.
ONE_PASS: dict[str, Any] = {
    "bytes": 0,
    "macro": "",
    "declared": "",
    "see": "",
    "signature": "int bnn_predict(const uint8_t *image, float *logits)",
    "looks": "    add_dots(image, dots);",
    "scale": "HEAD_SCALE",
    "plain": "",
}
SEVERAL_PASSES: dict[str, Any] = {
    "bytes": 1,
    "macro": "#define BNN_PASSES $number_of_passes\n",
    "declared": """\
/*
 * As bnn_predict, with the mean of `passes` passes over the image, 1 to BNN_PASSES: as it is, then shifted and
 * brighter. More passes are more accurate, and take as many times longer.
 */
int bnn_predict_passes(const uint8_t *image, int passes, float *logits);

""",
    "see": """
/* The image as it is seen in a pass: shifted, black moves in; then brighter, kept within 0 to 255. */
static void see(const uint8_t *image, const int16_t *pass, uint8_t *seen)
{
    for (int y = 0; y < BNN_SIDE; y++) {
        for (int x = 0; x < BNN_SIDE; x++) {
            const int row = y - pass[0];
            const int column = x - pass[1];
            int pixel = pass[2];
            if (row >= 0 && row < BNN_SIDE && column >= 0 && column < BNN_SIDE) {
                pixel += image[row * BNN_SIDE + column];
            }
            *seen++ = (uint8_t)(pixel < 0 ? 0 : pixel > 255 ? 255 : pixel);
        }
    }
}
""",
    "signature": "int bnn_predict_passes(const uint8_t *image, int passes, float *logits)",
    "looks": """\
    for (int i = 0; i < passes; i++) {
        uint8_t seen[BNN_SIDE * BNN_SIDE];
        see(image, PASSES[i], seen);
        add_dots(seen, dots);
    }""",
    "scale": "HEAD_SCALE[passes - 1]",
    "plain": """
int bnn_predict(const uint8_t *image, float *logits)
{
    return bnn_predict_passes(image, 1, logits);
}
""",
}

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
