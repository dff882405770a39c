#include "tools/cli/fit.h"

#include <stdio.h>
#include <string.h>

enum {
    MAX_BAR = 40,
    MAX_SPARK = 16
};

size_t cli_columns(const char *text)
{
    size_t n = 0;

    for (const char *p = text; *p; p++) {
        n += ((unsigned char)*p & 0xC0) != 0x80; /* where one begins */
    }
    return n;
}

static void append(char *line, const char *text)
{
    const size_t n = strlen(line);

    snprintf(line + n, CLI_LINE_BYTES - n, "%s", text);
}

/* Parts of a rank up to highest. */
static void join(char *line, const cli_part *parts, size_t n, int highest)
{
    line[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        if (parts[i].rank <= highest && parts[i].text[0]) {
            append(line, line[0] ? "  " : "");
            append(line, parts[i].text);
        }
    }
}

const char *cli_fit(char line[CLI_LINE_BYTES], const cli_part *parts, size_t n,
                    size_t width)
{
    int highest = 0;

    for (size_t i = 0; i < n; i++) {
        highest = parts[i].rank > highest ? parts[i].rank : highest;
    }
    join(line, parts, n, highest);
    while (highest > 0 && cli_columns(line) > width) {
        join(line, parts, n, --highest);
    }
    return line;
}

/* Appends a short text to a part. */
static void put(cli_part *part, const char *text)
{
    const size_t n = strlen(part->text);

    snprintf(part->text + n, sizeof(part->text) - n, "%s", text);
}

void cli_bar(cli_part *part, size_t columns, double share, bool utf8)
{
    const size_t n = columns < MAX_BAR ? columns : MAX_BAR;
    const size_t full = (size_t)(share * (double)n + 0.5);

    part->text[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        if (i < full) {
            put(part, utf8 ? "\u2501" : "#");
        } else {
            put(part, utf8 ? "\u2500" : ".");
        }
    }
}

void cli_spark(cli_part *part, const double *x, size_t n, bool utf8)
{
    static const char *const levels[] = {"\u2581", "\u2582", "\u2583", "\u2584",
                                         "\u2585", "\u2586", "\u2587"};
    double low = x[0];
    double high = x[0];

    part->text[0] = '\0';
    if (!utf8 || n < 2 || n > MAX_SPARK) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    for (size_t i = 0; i < n; i++) {
        const double at = high > low ? (x[i] - low) / (high - low) : 0.5;

        put(part, levels[(size_t)(at * 6 + 0.5)]);
    }
}
