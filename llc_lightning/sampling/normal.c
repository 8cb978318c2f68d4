// Standard normal numbers, the same as torch's `Tensor.normal_` with a CPU generator draws, several times faster.
//
// The Mersenne Twister (Matsumoto and Nishimura 1998) is equal bit by bit; its recurrence reaches back 227 words, so that
// compilers can run it on vectors. The transform is that of Box and Muller 1958 in float, with the polynomials of the Cephes
// library (Moshier 1984), equal to torch's but for rounding. Fewer than 16 numbers are drawn in double, as in torch.

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EVERY_CPU __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define FOR_EVERY_CPU
#endif

enum { WORDS = 624, MIDDLE = 397, BLOCK = 16, HALF = 8 };

typedef struct {
    uint32_t word[WORDS];
    int32_t next;
    int32_t kept;  // whether `other` is the second number of a pair drawn in double
    double other;
} Stream;

void seed_stream(Stream *stream, uint64_t seed) {
    uint32_t *word = stream->word;
    word[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < WORDS; i++) word[i] = 1812433253u * (word[i - 1] ^ (word[i - 1] >> 30)) + i;
    stream->next = WORDS;
    stream->kept = 0;
}

static inline uint32_t twist(uint32_t high, uint32_t low) {
    return (((high & 0x80000000u) | (low & 0x7fffffffu)) >> 1) ^ (-(low & 1u) & 0x9908b0dfu);
}

static inline uint32_t temper(uint32_t y) {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

FOR_EVERY_CPU static void refill(uint32_t *restrict word) {
    for (int i = 0; i < WORDS - MIDDLE; i++) word[i] = word[i + MIDDLE] ^ twist(word[i], word[i + 1]);
    for (int i = WORDS - MIDDLE; i < WORDS - 1; i++) word[i] = word[i + MIDDLE - WORDS] ^ twist(word[i], word[i + 1]);
    word[WORDS - 1] = word[MIDDLE - 1] ^ twist(word[WORDS - 1], word[0]);
}

// Uniform in [0, 1), with the 24 bits of a float.
FOR_EVERY_CPU static void uniforms(const uint32_t *restrict word, float *restrict out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = (float)(int32_t)(temper(word[i]) & 0xffffffu) * 0x1p-24f;
}

static void draw_uniforms(Stream *stream, float *out, int64_t n) {
    while (n > 0) {
        if (stream->next == WORDS) {
            refill(stream->word);
            stream->next = 0;
        }
        int64_t some = WORDS - stream->next < n ? WORDS - stream->next : n;
        uniforms(stream->word + stream->next, out, some);
        stream->next += (int32_t)some;
        out += some;
        n -= some;
    }
}

static inline float as_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t as_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// The logarithm of a normal positive float: x = m 2^e with m in [sqrt 1/2, sqrt 2).
static inline float log_of(float x) {
    uint32_t shifted = as_bits(x) - 0x3f3504f3u;  // the bits of sqrt 1/2
    float e = (float)((int32_t)shifted >> 23);
    float m = as_float((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    float square = m * m;
    float rest = p * m * square - 2.12194440e-4f * e - 0.5f * square;
    return m + rest + 0.693359375f * e;
}

// 16 uniforms become 16 normals: u[i] gives the radius and u[i + 8] the angle of one pair.
static inline void transform(float *restrict u) {
    float radius[HALF], cosine[HALF], sine[HALF];
    for (int i = 0; i < HALF; i++) {
        radius[i] = sqrtf(-2.0f * log_of(1.0f - u[i]));
        float angle = 6.2831855f * u[i + HALF];
        int32_t turn = ((int32_t)(angle * 1.27323954f) + 1) / 2;  // quarter turns; at an eighth, up
        float quarter = (float)turn;
        float x = angle - quarter * 1.5703125f - quarter * 4.837512969970703125e-4f - quarter * 7.54978995489188216e-8f;
        float y = x * x;
        float s = ((-1.9515295891e-4f * y + 8.3321608736e-3f) * y - 1.6666654611e-1f) * y * x + x;
        float c = ((2.443315711809948e-5f * y - 1.388731625493765e-3f) * y + 4.166664568298827e-2f) * y * y - 0.5f * y + 1.0f;
        float sin_part = turn & 1 ? c : s, cos_part = turn & 1 ? s : c;
        sine[i] = turn & 2 ? -sin_part : sin_part;
        cosine[i] = (turn + 1) & 2 ? -cos_part : cos_part;
    }
    for (int i = 0; i < HALF; i++) {
        u[i] = radius[i] * cosine[i];
        u[i + HALF] = radius[i] * sine[i];
    }
}

FOR_EVERY_CPU static void transform_all(float *u, int64_t n) {
    for (int64_t i = 0; i + BLOCK <= n; i += BLOCK) transform(u + i);
}

static uint32_t draw_word(Stream *stream) {
    if (stream->next == WORDS) {
        refill(stream->word);
        stream->next = 0;
    }
    return temper(stream->word[stream->next++]);
}

static double draw_double(Stream *stream) {
    uint64_t high = draw_word(stream), low = draw_word(stream);
    return (double)(((high << 32) | low) & ((1ull << 53) - 1)) * 0x1p-53;
}

static float draw_one(Stream *stream) {
    if (stream->kept) {
        stream->kept = 0;
        return (float)stream->other;
    }
    double angle = 6.283185307179586 * draw_double(stream);
    double radius = sqrt(-2.0 * log1p(-draw_double(stream)));
    stream->other = radius * sin(angle);
    stream->kept = 1;
    return (float)(radius * cos(angle));
}

static void fill(Stream *stream, float *out, int64_t n) {
    if (n < BLOCK) {
        for (int64_t i = 0; i < n; i++) out[i] = draw_one(stream);
        return;
    }
    enum { PART = 4096 };  // stays in the first cache between the two passes
    for (int64_t i = 0; i < n; i += PART) {
        int64_t some = n - i < PART ? n - i : PART;
        draw_uniforms(stream, out + i, some);
        transform_all(out + i, some);
    }
    if (n % BLOCK) {  // the last 16 are drawn again
        draw_uniforms(stream, out + n - BLOCK, BLOCK);
        transform_all(out + n - BLOCK, BLOCK);
    }
}

// `out` holds the addresses of a first stream's tensors, then those of the next; `n` their sizes, the same for all streams.
void fill_normals(Stream *const *streams, int64_t how_many, float *const *out, const int64_t *n, int64_t count) {
    for (int64_t i = 0; i < how_many * count; i++) fill(streams[i / count], out[i], n[i % count]);
}
