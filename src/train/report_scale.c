#include "src/train/report_scale.h"

#include <math.h>

enum {
    STEPS = 5,      /* of an axis of values */
    TIME_STEPS = 8, /* of an axis of steps, at most */
    LOG_FROM = 30   /* times the smallest value: below, a line tells more */
};

/* Values that differ by less, as a part of the larger one, are the same. */
static const double nothing = 1e-6;

/* The smallest of 1, 2, 5 times a power of ten that is not below x > 0; with
 * down, the largest that is not above it. */
static double round_number(double x, bool down)
{
    const double power = pow(10, floor(log10(x)));
    const double part = x / power; /* in [1, 10), but for rounding */

    if (down) {
        return power * (part >= 5 ? 5 : part >= 2 ? 2 : 1);
    }
    return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

static void add_tick(ql_scale *s, double x)
{
    if (s->ticks < QL_SCALE_TICKS) {
        s->tick[s->ticks++] = x;
    }
}

/* Multiples of step from low to high. */
static void add_ticks(ql_scale *s, double step)
{
    const double first = ceil(s->low / step - 1e-9) + 0.0; /* no -0 */
    const double last = floor(s->high / step + 1e-9);

    for (double i = first; i <= last; i++) {
        add_tick(s, i * step);
    }
    s->digits = (int)fmax(0, -floor(log10(step) + 1e-9));
}

static ql_scale linear(double low, double high)
{
    ql_scale s = {0};
    const double size = fmax(fabs(low), fabs(high));
    double step;

    if (!(high - low > size * nothing)) { /* one value: in the middle */
        const double room = size > 0 ? size / 10 : 1;

        low -= room;
        high += room;
    }
    step = round_number((high - low) / STEPS, false);
    s.low = step * floor(low / step + 1e-9);
    s.high = step * ceil(high / step - 1e-9);
    add_ticks(&s, step);
    return s;
}

static ql_scale logarithmic(double low, double high)
{
    ql_scale s = {.log = true};
    double decades;

    s.low = round_number(low, true);
    s.high = round_number(high, false);
    decades = log10(s.high / s.low);
    if (decades > 3) { /* powers of ten, not all of them if there are many */
        const double step = ceil(decades / QL_SCALE_TICKS);
        const double last = floor(log10(s.high) + 1e-9);

        for (double e = ceil(log10(s.low) - 1e-9); e <= last; e += step) {
            add_tick(&s, pow(10, e));
        }
    } else {
        for (double x = s.low; x < s.high * 1.001;
             x = round_number(x * 1.001, false)) {
            add_tick(&s, x);
        }
    }
    s.digits = (int)fmax(0, -floor(log10(s.low) + 1e-9));
    return s;
}

ql_scale ql_scale_of(double low, double high, bool may_log)
{
    return may_log && low > 0 && high >= LOG_FROM * low ? logarithmic(low, high)
                                                        : linear(low, high);
}

ql_scale ql_scale_of_steps(size_t high)
{
    ql_scale s = {.high = (double)(high > 0 ? high : 1)};

    add_ticks(&s, fmax(1, round_number(s.high / TIME_STEPS, false)));
    return s;
}

double ql_scale_at(const ql_scale *s, double x)
{
    return s->log ? log(x / s->low) / log(s->high / s->low)
                  : (x - s->low) / (s->high - s->low);
}
