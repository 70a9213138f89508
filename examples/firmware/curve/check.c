/* Holds device.h against what it replaces: `../run.sh` builds it for the host, with the 32-bit
 * arithmetic of a device and the library's internal checks, and runs it.
 *
 *   SHA-256, HMAC, RFC 6979   against numbers of another implementation
 *   multiples of G            against the library's multiplication of a verification */
#include <stdio.h>

#include "device.h"
#include "secp256k1.c"

#define S(name) rustsecp256k1_v0_10_0_##name

static int failed = 0, passed = 0;

static void expect(int is_so, const char *what) {
    if (is_so) {
        passed++;
    } else {
        failed++;
        printf("device.h: %s\n", what);
    }
}

static void expect_bytes(const unsigned char *got, const char *want, const char *what) {
    char text[65];
    int i;
    for (i = 0; i < 32; i++) {
        sprintf(text + 2 * i, "%02x", got[i]);
    }
    expect(strcmp(text, want) == 0, what);
}

/* Bytes 0, 1, .., 199. */
static void count_up(unsigned char *bytes) {
    int i;
    for (i = 0; i < 200; i++) {
        bytes[i] = i;
    }
}

/* The hash of the hashes of all lengths below 200, each written in two parts. */
static void check_hash(void) {
    unsigned char bytes[200], digest[32];
    S(sha256) one, all;
    size_t length;
    count_up(bytes);
    S(sha256_initialize)(&all);
    for (length = 0; length < 200; length++) {
        size_t part = length * 7 % (length + 1);
        S(sha256_initialize)(&one);
        S(sha256_write)(&one, bytes, part);
        S(sha256_write)(&one, bytes + part, length - part);
        S(sha256_finalize)(&one, digest);
        S(sha256_write)(&all, digest, 32);
    }
    S(sha256_finalize)(&all, digest);
    expect_bytes(
        digest, "ba7b0fcea7d10c06b855b43d2b4dce1e3e842fff6be0acefb0faf4f2dd05bb47", "SHA-256"
    );
}

static void check_hmac(void) {
    static const size_t sizes[3] = {20, 64, 131};
    static const char *const wanted[3] = {
        "ea63d44ef260983eec689b5f77ba515c57c7e7201526852dc47ca8232509ef45",
        "549a94de6c6c6cddc3790f019ea0e01417fceef978747d03eb386c3060695160",
        "e72765746dc5eb049beef83c3c8c680795291272e1c18238ce81d32c4b6740f6",
    };
    unsigned char bytes[200], digest[32];
    S(hmac_sha256) hmac;
    int i;
    count_up(bytes);
    for (i = 0; i < 3; i++) {
        S(hmac_sha256_initialize)(&hmac, bytes, sizes[i]);
        S(hmac_sha256_write)(&hmac, bytes + 50, 100);
        S(hmac_sha256_finalize)(&hmac, digest);
        expect_bytes(digest, wanted[i], "HMAC");
    }
}

static void check_rfc6979(void) {
    unsigned char bytes[200], drawn[48];
    S(rfc6979_hmac_sha256) rng;
    count_up(bytes);
    S(rfc6979_hmac_sha256_initialize)(&rng, bytes, 64);
    S(rfc6979_hmac_sha256_generate)(&rng, drawn, 48);
    expect_bytes(
        drawn + 16, "493b69635f509ed6871d4c871f93613b70af78045a86189e93f2adcbd7f4533c", "RFC 6979"
    );
    S(rfc6979_hmac_sha256_generate)(&rng, drawn, 32);
    expect_bytes(
        drawn, "0f055feef08cabf74ed01d5e95c50cbe136a4c28e65ff1bacc733b556d31f3ec", "RFC 6979, again"
    );
    S(rfc6979_hmac_sha256_finalize)(&rng);
}

/* n G: two ways, in affine coordinates. */
static void check_multiple(const S(context) *context, const S(scalar) *n) {
    S(gej) fast, infinity;
    S(gej) gen;
    S(ge) want, got;
    S(gej_set_infinity)(&infinity);
    S(ecmult)(&fast, &infinity, &S(scalar_zero), n);
    S(ecmult_gen)(&context->ecmult_gen_ctx, &gen, n);
    if (S(gej_is_infinity)(&fast)) {
        expect(S(gej_is_infinity)(&gen), "no multiple of G");
        return;
    }
    expect(!S(gej_is_infinity)(&gen), "a multiple of G at infinity");
    S(ge_set_gej_var)(&want, &fast);
    S(ge_set_gej_var)(&got, &gen);
    S(fe_normalize_var)(&want.x);
    S(fe_normalize_var)(&want.y);
    S(fe_normalize_var)(&got.x);
    S(fe_normalize_var)(&got.y);
    expect(S(fe_equal)(&want.x, &got.x) && S(fe_equal)(&want.y, &got.y), "a multiple of G");
}

/* The ends, one bit alone and all below it, the ends less the blinding, and hashes. */
static void check_multiples(const S(context) *context) {
    unsigned char bytes[32] = {0};
    S(scalar) n, minus, blind = context->ecmult_gen_ctx.blind;
    S(sha256) hash;
    int i;
    for (i = 0; i < 256; i++) {
        memset(bytes, 0, 32);
        bytes[31 - i / 8] = 1 << i % 8;
        S(scalar_set_b32)(&n, bytes, NULL);
        check_multiple(context, &n);
        S(scalar_negate)(&minus, &n);
        check_multiple(context, &minus);
        S(scalar_add)(&n, &n, &minus);
        check_multiple(context, &n);
        S(scalar_negate)(&n, &blind);
        S(scalar_add)(&n, &n, &minus);
        check_multiple(context, &n);
        S(sha256_initialize)(&hash);
        S(sha256_write)(&hash, bytes, 32);
        S(sha256_finalize)(&hash, bytes);
        S(scalar_set_b32)(&n, bytes, NULL);
        check_multiple(context, &n);
    }
    S(scalar_negate)(&n, &blind);
    check_multiple(context, &n);
}

int main(void) {
    static union {
        unsigned char bytes[4096];
        max_align_t aligned;
    } place;
    unsigned char seed[32] = {0};
    S(context) *context;
    S(scalar) before;
    int round;

    check_hash();
    check_hmac();
    check_rfc6979();
    expect(S(context_preallocated_size)(SECP256K1_CONTEXT_NONE) <= sizeof(place), "a context");
    context = S(context_preallocated_create)(&place, SECP256K1_CONTEXT_NONE);
    check_multiples(context);
    for (round = 0; round < 2; round++) {
        before = context->ecmult_gen_ctx.blind;
        seed[0] = round;
        expect(S(context_randomize)(context, seed), "to randomize");
        expect(!S(scalar_eq)(&before, &context->ecmult_gen_ctx.blind), "another blinding");
        expect(!S(fe_equal)(&S(fe_one), &context->ecmult_gen_ctx.initial.z), "a projection");
        check_multiples(context);
    }
    printf("device.h: %d checks passed, %d failed\n", passed, failed);
    return failed > 0;
}
