#include "tools/generate_show.h"

#include <inttypes.h>

#include "tools/cli/results.h"
#include "tools/cli/term.h"

static void show_memory(const ql_generator *g)
{
    ql_generate_memory m;
    char a[CLI_TEXT_BYTES];
    char b[CLI_TEXT_BYTES];
    char c[CLI_TEXT_BYTES];
    char d[CLI_TEXT_BYTES];

    ql_generator_memory(g, &m);
    fprintf(stderr,
            "memory: weights %s, work %s, cache up to %s (for %s tokens)\n",
            cli_format_bytes(a, m.weights), cli_format_bytes(b, m.work),
            cli_format_bytes(c, m.cache_most), cli_format_count(d, m.context));
}

void generate_show_adapter(const ql_model *m)
{
    ql_model_info info;

    ql_model_info_read(m, &info);
    fprintf(stderr, "adapter: %zu pairs, rank %zu", info.pairs, info.rank_low);
    if (info.rank_high > info.rank_low) {
        fprintf(stderr, " to %zu", info.rank_high);
    }
    fprintf(stderr, ", scale %.6g", info.scale_low);
    if (info.scale_high > info.scale_low) {
        fprintf(stderr, " to %.6g", info.scale_high);
    }
    fputc('\n', stderr);
}

bool generate_show_piece(const char *piece, size_t len, void *user)
{
    generate_show *s = user;

    if (s->plan) {
        show_memory(s->plan);
        s->plan = NULL;
    }
    if (len > 0 && !s->silent) {
        if (s->before) {
            fputs(s->before, stdout);
            s->before = NULL;
        }
        fwrite(piece, 1, len, stdout);
        if (fflush(stdout) != 0) {
            return false;
        }
    }
    return !cli_interrupted();
}

static double rate(size_t n, double seconds)
{
    return seconds > 0 ? (double)n / seconds : 0;
}

/* Tokens written behind the first one, which comes with the prompt. */
static double text_rate(const ql_generated *r)
{
    return r->new_tokens > 1 ? rate(r->new_tokens - 1, r->text_s) : 0;
}

void generate_show_speed(const ql_generated *r)
{
    const size_t read = r->prompt_tokens - r->reused_tokens;

    fprintf(stderr, "prompt: %zu token%s", r->prompt_tokens,
            r->prompt_tokens == 1 ? "" : "s");
    if (r->reused_tokens > 0) {
        fprintf(stderr, ", %zu of them read before", r->reused_tokens);
    }
    fprintf(stderr, ", %.1f tokens/s; text: %zu token%s",
            rate(read, r->prompt_s), r->new_tokens,
            r->new_tokens == 1 ? "" : "s");
    if (r->new_tokens > 1) {
        fprintf(stderr, ", %.1f tokens/s", text_rate(r));
    }
    fputs(r->end == QL_END_LENGTH ? " (cut off: more tokens are not allowed)\n"
                                  : "\n",
          stderr);
}

static void show_ids(const char *key, const int32_t *ids, size_t n)
{
    fprintf(stdout, ", \"%s\": [", key);
    for (size_t i = 0; i < n; i++) {
        fprintf(stdout, "%s%" PRId32, i > 0 ? ", " : "", ids[i]);
    }
    putchar(']');
}

void generate_show_json(const ql_generated *r)
{
    fprintf(stdout,
            ", \"finish_reason\": \"%s\", \"prompt_tokens\": %zu, "
            "\"completion_tokens\": %zu, \"tokens_per_second\": %.6g",
            r->end == QL_END_LENGTH ? "length" : "stop", r->prompt_tokens,
            r->new_tokens, text_rate(r));
    show_ids("prompt_token_ids", r->ids, r->prompt_tokens);
    show_ids("token_ids", r->ids + r->prompt_tokens, r->new_tokens);
    puts("}");
    fflush(stdout);
}
