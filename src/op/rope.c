/* Facts from transformers modeling_rope_utils.py, where each scaling changes
 * the frequencies theta^(-2 i / dim), and some multiply cos and sin. */
#include "src/op/rope.h"

#include <assert.h>
#include <math.h>

#include "src/op/loops.h"
#include "src/op/parallel.h"

static const double pi = 3.14159265358979323846;

bool ql_rope_depends_on_length(const ql_rope_spec *spec)
{
    return spec->type == QL_ROPE_DYNAMIC || spec->type == QL_ROPE_LONGROPE;
}

size_t ql_rope_phase(const ql_rope_spec *spec, size_t len)
{
    const size_t original =
        spec->original ? spec->original : spec->max_position;

    if (spec->type == QL_ROPE_LONGROPE) {
        return len > original;
    }
    return spec->type == QL_ROPE_DYNAMIC && len > spec->max_position ? len : 0;
}

static double wave(double theta, size_t i, size_t dim)
{
    return pow(theta, -2 * (double)i / (double)dim);
}

static double or_default(double value, double otherwise)
{
    return value != 0 ? value : otherwise;
}

static double original_length(const ql_rope_spec *s)
{
    return (double)(s->original ? s->original : s->max_position);
}

double ql_rope_stretch(const ql_rope_spec *spec)
{
    return or_default(spec->factor,
                      (double)spec->max_position / original_length(spec));
}

/* The base grows once sequences are longer than the model was made for. */
static void fill_dynamic(double *inv_freq, const ql_rope_spec *s, size_t len)
{
    const double d = (double)s->dim;
    const double longest = (double)s->max_position;
    const double L = fmax((double)len, longest);
    const double grow = s->factor * L / longest - (s->factor - 1);
    const double theta = s->theta * pow(grow, d / (d - 2));

    for (size_t i = 0; i < s->dim / 2; i++) {
        inv_freq[i] = wave(theta, i, s->dim);
    }
}

/* Long waves are stretched, short ones kept, those between are mixed. */
static void fill_llama3(double *inv_freq, const ql_rope_spec *s)
{
    const double original = (double)s->original;
    const double low = s->low_freq_factor;
    const double high = s->high_freq_factor;

    for (size_t i = 0; i < s->dim / 2; i++) {
        const double f = wave(s->theta, i, s->dim);
        const double turns = original * f / (2 * pi);
        double keep = (turns - low) / (high - low);

        if (turns > high) {
            keep = 1;
        } else if (turns < low) {
            keep = 0;
        }
        inv_freq[i] = (1 - keep) * f / s->factor + keep * f;
    }
}

/* The index of the wave that makes so many turns in the original context. */
static double yarn_index(const ql_rope_spec *s, double turns, double original)
{
    return (double)s->dim * log(original / (2 * pi * turns)) /
           (2 * log(s->theta));
}

static double yarn_mscale(double factor, double mscale)
{
    return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

static double fill_yarn(double *inv_freq, const ql_rope_spec *s)
{
    const double original = original_length(s);
    const double factor = ql_rope_stretch(s);
    double low = yarn_index(s, or_default(s->beta_fast, 32), original);
    double high = yarn_index(s, or_default(s->beta_slow, 1), original);

    if (s->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, (double)s->dim - 1);
    if (low == high) {
        high += 0.001; /* a step, as transformers takes it */
    }
    for (size_t i = 0; i < s->dim / 2; i++) {
        const double f = wave(s->theta, i, s->dim);
        const double at = ((double)i - low) / (high - low);
        const double ramp = fmin(fmax(at, 0), 1);

        inv_freq[i] = f / factor * ramp + f * (1 - ramp);
    }
    if (s->attention_factor != 0) {
        return s->attention_factor;
    }
    if (s->mscale != 0 && s->mscale_all_dim != 0) {
        return yarn_mscale(factor, s->mscale) /
               yarn_mscale(factor, s->mscale_all_dim);
    }
    return yarn_mscale(factor, 1);
}

static double fill_longrope(double *inv_freq, const ql_rope_spec *s, size_t len)
{
    const double original = original_length(s);
    const double factor = ql_rope_stretch(s);
    const double *by =
        (double)len > original ? s->long_factor : s->short_factor;

    for (size_t i = 0; i < s->dim / 2; i++) {
        inv_freq[i] = wave(s->theta, i, s->dim) / by[i];
    }
    if (s->attention_factor != 0) {
        return s->attention_factor;
    }
    return factor <= 1 ? 1 : sqrt(1 + log(factor) / log(original));
}

double ql_rope_frequencies(double *inv_freq, const ql_rope_spec *spec,
                           size_t len)
{
    const double factor = spec->type == QL_ROPE_LINEAR ? spec->factor : 1;

    assert(spec->dim % 2 == 0);
    switch (spec->type) {
    case QL_ROPE_DYNAMIC:
        fill_dynamic(inv_freq, spec, len);
        return 1;
    case QL_ROPE_YARN:
        return fill_yarn(inv_freq, spec);
    case QL_ROPE_LLAMA3:
        fill_llama3(inv_freq, spec);
        return 1;
    case QL_ROPE_LONGROPE:
        return fill_longrope(inv_freq, spec, len);
    case QL_ROPE_DEFAULT:
    case QL_ROPE_LINEAR:
        break;
    }
    for (size_t i = 0; i < spec->dim / 2; i++) {
        inv_freq[i] = wave(spec->theta, i, spec->dim) / factor;
    }
    return 1;
}

void ql_rope_table(float *cos_table, float *sin_table, const double *inv_freq,
                   double factor, size_t dim, ql_rope_range range)
{
    const size_t half = dim / 2;

#pragma omp parallel for schedule(dynamic, 16) if (range.len * half > QL_SMALL)
    for (size_t p = 0; p < range.len; p++) {
        for (size_t i = 0; i < half; i++) {
            const double angle = (double)(range.first + p) * inv_freq[i];

            cos_table[p * half + i] = (float)(cos(angle) * factor);
            sin_table[p * half + i] = (float)(sin(angle) * factor);
        }
    }
}

void ql_rope_apply(float *x, const uint32_t *pos, const float *cos_table,
                   const float *sin_table, size_t T, size_t heads, size_t D,
                   size_t dim, bool backward)
{
    const ql_loops *loops = ql_loops_get();
    const size_t half = dim / 2;
    const float sign = backward ? -1 : 1;

    assert(dim % 2 == 0 && dim <= D);
#pragma omp parallel for schedule(dynamic, 8) if (T * heads * D > QL_SMALL)
    for (size_t t = 0; t < T; t++) {
        const float *c = cos_table + pos[t] * half;
        const float *s = sin_table + pos[t] * half;

        for (size_t h = 0; h < heads; h++) {
            loops->rotate(x + (t * heads + h) * D, c, s, half, sign);
        }
    }
}
