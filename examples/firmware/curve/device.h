/* The curve library in less flash: what `.cargo/config.toml` puts before its sources.
 *
 * Two parts of libsecp256k1 are for speed what a device has no room for. They stand here again, by
 * the same names, and the guards of their own headers keep those out:
 *
 *   a multiple of the generator   a table of 32 KiB there; here the eight points that a
 *                                 verification needs anyway
 *   SHA-256                       64 rounds one after the other, 7 KiB; here a loop
 *
 * As there, no branch and no address depends on a secret, scalar and projection are blinded, and a
 * context begins with the library's self-test of the hash. check.c holds it to the library. */
#ifndef MILLSTREAM_DEVICE_H
#define MILLSTREAM_DEVICE_H

/* As the library's own file begins, before its first header. */
#define SECP256K1_BUILD

#define SECP256K1_HASH_IMPL_H
#define SECP256K1_ECMULT_GEN_IMPL_H

#include <string.h>

#include "util.h"
#include "hash.h"
#include "field_impl.h"
#include "scalar_impl.h"
#include "group_impl.h"
#include "ecmult_gen.h"
#include "precomputed_ecmult.h"

#define S(name) rustsecp256k1_v0_10_0_##name

/* FIPS 180-4, 4.2.2. */
static const uint32_t device_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t device_rotate(uint32_t x, int by) {
    return x >> by | x << (32 - by);
}

/* FIPS 180-4, 6.2.2. The working variables stay in place, and their names move: `at(i)` is the one
 * that is i-th in this round. So does the schedule, of which sixteen words are kept. */
static void device_compress(uint32_t *state, const unsigned char *block) {
    uint32_t w[16], v[8];
    int t, i;
    memcpy(v, state, sizeof(v));
    for (t = 0; t < 64; t++) {
#define at(i) v[((i) - t) & 7]
        uint32_t t1, t2, *word = &w[t & 15];
        if (t < 16) {
            *word = S(read_be32)(block + 4 * t);
        } else {
            uint32_t w15 = w[(t + 1) & 15], w2 = w[(t + 14) & 15];
            *word += (device_rotate(w15, 7) ^ device_rotate(w15, 18) ^ w15 >> 3) + w[(t + 9) & 15]
                   + (device_rotate(w2, 17) ^ device_rotate(w2, 19) ^ w2 >> 10);
        }
        t1 = at(7) + (device_rotate(at(4), 6) ^ device_rotate(at(4), 11) ^ device_rotate(at(4), 25))
           + (at(6) ^ (at(4) & (at(5) ^ at(6)))) + device_k[t] + *word;
        t2 = (device_rotate(at(0), 2) ^ device_rotate(at(0), 13) ^ device_rotate(at(0), 22))
           + ((at(0) & at(1)) | (at(2) & (at(0) | at(1))));
        at(3) += t1;
        at(7) = t1 + t2;
#undef at
    }
    for (i = 0; i < 8; i++) {
        state[i] += v[i];
    }
}

static void S(sha256_initialize)(S(sha256) *hash) {
    static const uint32_t start[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };
    memcpy(hash->s, start, sizeof(start));
    hash->bytes = 0;
}

static void S(sha256_write)(S(sha256) *hash, const unsigned char *data, size_t size) {
    while (size-- > 0) {
        hash->buf[hash->bytes++ & 63] = *data++;
        if ((hash->bytes & 63) == 0) {
            device_compress(hash->s, hash->buf);
        }
    }
}

static void S(sha256_finalize)(S(sha256) *hash, unsigned char *out32) {
    uint64_t bits = hash->bytes << 3;
    unsigned char length[8], pad = 0x80;
    int i;
    S(write_be32)(length, bits >> 32);
    S(write_be32)(length + 4, bits);
    do {
        S(sha256_write)(hash, &pad, 1);
        pad = 0;
    } while ((hash->bytes & 63) != 56);
    S(sha256_write)(hash, length, sizeof(length));
    for (i = 0; i < 8; i++) {
        S(write_be32)(out32 + 4 * i, hash->s[i]);
    }
    memset(hash->s, 0, sizeof(hash->s));
}

/* BIP340: SHA-256 that has taken the hash of the tag twice. */
static void S(sha256_initialize_tagged)(S(sha256) *hash, const unsigned char *tag, size_t taglen) {
    unsigned char name[32];
    S(sha256_initialize)(hash);
    S(sha256_write)(hash, tag, taglen);
    S(sha256_finalize)(hash, name);
    S(sha256_initialize)(hash);
    S(sha256_write)(hash, name, sizeof(name));
    S(sha256_write)(hash, name, sizeof(name));
}

/* RFC 2104. */
static void S(hmac_sha256_initialize)(S(hmac_sha256) *hash, const unsigned char *key, size_t size) {
    unsigned char outer[64] = {0}, inner[64];
    size_t i;
    if (size <= sizeof(outer)) {
        memcpy(outer, key, size);
    } else {
        S(sha256_initialize)(&hash->outer);
        S(sha256_write)(&hash->outer, key, size);
        S(sha256_finalize)(&hash->outer, outer);
    }
    for (i = 0; i < sizeof(outer); i++) {
        inner[i] = outer[i] ^ 0x36;
        outer[i] ^= 0x5c;
    }
    S(sha256_initialize)(&hash->inner);
    S(sha256_write)(&hash->inner, inner, sizeof(inner));
    S(sha256_initialize)(&hash->outer);
    S(sha256_write)(&hash->outer, outer, sizeof(outer));
    memset(inner, 0, sizeof(inner));
    memset(outer, 0, sizeof(outer));
}

static void S(hmac_sha256_write)(S(hmac_sha256) *hash, const unsigned char *data, size_t size) {
    S(sha256_write)(&hash->inner, data, size);
}

static void S(hmac_sha256_finalize)(S(hmac_sha256) *hash, unsigned char *out32) {
    S(sha256_finalize)(&hash->inner, out32);
    S(sha256_write)(&hash->outer, out32, 32);
    S(sha256_finalize)(&hash->outer, out32);
}

/* RFC 6979, 3.2: V = HMAC(K, V), and with a key before that K = HMAC(K, V || round || key). */
static void device_next(S(rfc6979_hmac_sha256) *rng) {
    S(hmac_sha256) hmac;
    S(hmac_sha256_initialize)(&hmac, rng->k, 32);
    S(hmac_sha256_write)(&hmac, rng->v, 32);
    S(hmac_sha256_finalize)(&hmac, rng->v);
}

static void device_rekey(
    S(rfc6979_hmac_sha256) *rng, unsigned char round, const unsigned char *key, size_t size
) {
    S(hmac_sha256) hmac;
    S(hmac_sha256_initialize)(&hmac, rng->k, 32);
    S(hmac_sha256_write)(&hmac, rng->v, 32);
    S(hmac_sha256_write)(&hmac, &round, 1);
    S(hmac_sha256_write)(&hmac, key, size);
    S(hmac_sha256_finalize)(&hmac, rng->k);
    device_next(rng);
}

static void S(rfc6979_hmac_sha256_initialize)(
    S(rfc6979_hmac_sha256) *rng, const unsigned char *key, size_t keylen
) {
    memset(rng->v, 1, sizeof(rng->v));
    memset(rng->k, 0, sizeof(rng->k));
    device_rekey(rng, 0, key, keylen);
    device_rekey(rng, 1, key, keylen);
    rng->retry = 0;
}

static void S(rfc6979_hmac_sha256_generate)(
    S(rfc6979_hmac_sha256) *rng, unsigned char *out, size_t outlen
) {
    if (rng->retry) {
        device_rekey(rng, 0, out, 0);
    }
    while (outlen > 0) {
        size_t part = outlen < 32 ? outlen : 32;
        device_next(rng);
        memcpy(out, rng->v, part);
        out += part;
        outlen -= part;
    }
    rng->retry = 1;
}

static void S(rfc6979_hmac_sha256_finalize)(S(rfc6979_hmac_sha256) *rng) {
    memset(rng, 0, sizeof(*rng));
}

/* A digit has three bits and is odd, from -7 to 7: four points and their negatives. 43 digits are
 * 129 bits, so that each half of a scalar fits. */
#define DEVICE_DIGIT 3
#define DEVICE_POINTS 4
#define DEVICE_DIGITS 43
#if ECMULT_WINDOW_SIZE < 4
#  error "The tables of a verification have to hold 1, 3, 5 and 7 times the generator."
#endif

/* The digit's multiple of the table's first point. Every point is read, whichever is meant. */
static void device_point(
    S(ge) *point, const S(ge_storage) *table, const S(scalar) *half, int digit
) {
    S(ge_storage) found = table[0];
    S(fe) negative;
    unsigned int bits = S(scalar_get_bits_var)(half, digit * DEVICE_DIGIT, DEVICE_DIGIT);
    unsigned int is_negative = (bits >> 2) ^ 1, i;
    unsigned int index = (bits ^ (0 - is_negative)) & (DEVICE_POINTS - 1);
    for (i = 1; i < DEVICE_POINTS; i++) {
        S(ge_storage_cmov)(&found, &table[i], i == index);
    }
    S(ge_from_storage)(point, &found);
    S(fe_negate)(&negative, &point->y, 1);
    S(fe_cmov)(&point->y, &negative, is_negative);
}

/* r = gn G.
 *
 * The signs of Hamburg ("Fast and compact elliptic-curve cryptography", 2012, 3.3): where a bit is
 * worth 2^i or -2^i, all digits are odd and no lookup is of zero. With V = low + 2^128 high,
 *
 *   sum (2 low_i - 1) 2^i + 2^128 sum (2 high_i - 1) 2^i  =  2 V - (2^257 + 2^128 - 1)
 *
 * over 129 bits i of each half. So V is half of what is wanted and that constant, modulo the order;
 * both halves of it share their doublings. What is wanted is gn less the context's blinding, whose
 * multiple is added at the end, as in the library. Its projection goes to the first point. */
static void S(ecmult_gen)(
    const S(ecmult_gen_context) *ctx, S(gej) *r, const S(scalar) *gn
) {
    static const S(scalar) offset = SECP256K1_SCALAR_CONST(
        0x00000000ul, 0x00000000ul, 0x00000000ul, 0x00000003ul,
        0x8aa24632ul, 0xa16ebf88ul, 0x805b42e6ul, 0x5f937d7dul
    );
    S(scalar) v, low, high;
    S(ge) point;
    S(fe) zz;
    int digit, i;

    S(scalar_add)(&v, gn, &ctx->blind);
    S(scalar_add)(&v, &v, &offset);
    S(scalar_half)(&v, &v);
    S(scalar_split_128)(&low, &high, &v);

    for (digit = DEVICE_DIGITS - 1; digit >= 0; digit--) {
        device_point(&point, S(pre_g), &low, digit);
        if (digit == DEVICE_DIGITS - 1) {
            S(gej_set_ge)(r, &point);
            S(gej_rescale)(r, &ctx->initial.z);
        } else {
            for (i = 0; i < DEVICE_DIGIT; i++) {
                S(gej_double)(r, r);
            }
            S(gej_add_ge)(r, r, &point);
        }
        device_point(&point, S(pre_g_128), &high, digit);
        S(gej_add_ge)(r, r, &point);
    }

    /* Both on the curve on which `initial` is affine: the addition needs no inversion. */
    S(fe_sqr)(&zz, &ctx->initial.z);
    S(fe_mul)(&r->x, &r->x, &zz);
    S(fe_mul)(&r->y, &r->y, &zz);
    S(fe_mul)(&r->y, &r->y, &ctx->initial.z);
    S(ge_set_xy)(&point, &ctx->initial.x, &ctx->initial.y);
    S(gej_add_ge)(r, r, &point);
    S(fe_mul)(&r->z, &r->z, &ctx->initial.z);

    S(ge_clear)(&point);
    S(scalar_clear)(&v);
    S(scalar_clear)(&low);
    S(scalar_clear)(&high);
}

/* Takes b and the projection of bG from the hash of the seed and of the blinding before, so that
 * nobody who knows the seed alone knows them; without a seed, those that a context begins with. */
static void S(ecmult_gen_blind)(S(ecmult_gen_context) *ctx, const unsigned char *seed32) {
    static const unsigned char names[2] = {'z', 'b'};
    unsigned char before[32], drawn[32];
    S(sha256) hash;
    S(scalar) b;
    S(gej) bg;
    S(fe) z;
    int i;
    if (seed32 == NULL) {
        S(gej_set_ge)(&ctx->initial, &S(ge_const_g));
        S(gej_neg)(&ctx->initial, &ctx->initial);
        S(scalar_set_int)(&ctx->blind, 1);
        return;
    }
    S(scalar_get_b32)(before, &ctx->blind);
    for (i = 0; i < 2; i++) {
        S(sha256_initialize)(&hash);
        S(sha256_write)(&hash, &names[i], 1);
        S(sha256_write)(&hash, before, 32);
        S(sha256_write)(&hash, seed32, 32);
        S(sha256_finalize)(&hash, drawn);
        if (i == 0) {
            S(fe_set_b32_mod)(&z, drawn);
            S(fe_cmov)(&z, &S(fe_one), S(fe_normalizes_to_zero)(&z));
            S(gej_rescale)(&ctx->initial, &z);
        } else {
            S(scalar_set_b32)(&b, drawn, NULL);
            S(scalar_cmov)(&b, &S(scalar_one), S(scalar_is_zero)(&b));
        }
    }
    S(ecmult_gen)(ctx, &bg, &b);
    S(scalar_negate)(&ctx->blind, &b);
    ctx->initial = bg;
    /* As small as a point's y has to be where it is added. */
    S(fe_normalize_weak)(&ctx->initial.y);

    memset(before, 0, sizeof(before));
    memset(drawn, 0, sizeof(drawn));
    memset(&hash, 0, sizeof(hash));
    S(fe_clear)(&z);
    S(scalar_clear)(&b);
    S(gej_clear)(&bg);
}

static void S(ecmult_gen_context_build)(S(ecmult_gen_context) *ctx) {
    S(ecmult_gen_blind)(ctx, NULL);
    ctx->built = 1;
}

static int S(ecmult_gen_context_is_built)(const S(ecmult_gen_context) *ctx) {
    return ctx->built;
}

static void S(ecmult_gen_context_clear)(S(ecmult_gen_context) *ctx) {
    ctx->built = 0;
    S(scalar_clear)(&ctx->blind);
    S(gej_clear)(&ctx->initial);
}

#undef S

#endif
