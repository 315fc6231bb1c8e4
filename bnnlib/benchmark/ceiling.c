/*
 * The yardstick for the fast engine: one block of a 1-bit network by hand, in AVX-512 intrinsics.
 *
 * 32 input channels are one word, 16 output channels one register. A word of the input is broadcast, compared with a
 * register of weights by xor, the differing bits are counted by vpopcntd and added: PIXELS output pixels at once, so
 * that one load of the weights serves them all. Built with -DSIDE (of the input), -DKERNEL and -DPIXELS, a divisor of
 * the number of output pixels.
 */
#include <immintrin.h>
#include <stdint.h>

enum { LANES = 16, OUT = SIDE - KERNEL + 1, PLACES = OUT * OUT };

static void block(const uint32_t *map, const uint32_t *weights, __m512i limit, uint32_t flip, uint32_t *out)
{
    for (int first = 0; first < PLACES; first += PIXELS) {
        const uint32_t *window[PIXELS];
        __m512i sum[PIXELS];
        for (int p = 0; p < PIXELS; p++) {
            window[p] = map + (first + p) / OUT * SIDE + (first + p) % OUT;
            sum[p] = _mm512_setzero_si512();
        }
        const uint32_t *at = weights;
        for (int y = 0; y < KERNEL; y++) {
            for (int x = 0; x < KERNEL; x++, at += LANES) {
                __m512i weight = _mm512_loadu_si512(at);
                for (int p = 0; p < PIXELS; p++) {
                    __m512i word = _mm512_set1_epi32((int)window[p][y * SIDE + x]);
                    sum[p] = _mm512_add_epi32(sum[p], _mm512_popcnt_epi32(_mm512_xor_si512(word, weight)));
                }
            }
        }
        for (int p = 0; p < PIXELS; p++)
            out[first + p] = _mm512_cmple_epi32_mask(sum[p], limit) ^ flip;
    }
}

/* Maps and outputs of n images, each ``stride`` words after the one before. */
void ceiling(const uint32_t *maps, uint32_t *out, int64_t stride, int64_t n, const uint32_t *weights,
             const int32_t *limits, uint32_t flip)
{
    __m512i limit = _mm512_loadu_si512(limits);
    for (int64_t i = 0; i < n; i++)
        block(maps + i * stride, weights, limit, flip, out + i * stride);
}
