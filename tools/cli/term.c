#include "tools/cli/term.h"

#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/cli/exit.h"
#include "tools/cli/fit.h"

enum {
    LOOK_MS = 50
};

void cli_term_init(cli_term *t, FILE *out, bool quiet)
{
    const char *kind = getenv("TERM");
    const locale_t locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);

    *t = (cli_term){.out = out,
                    .tty = !quiet && isatty(fileno(out)) == 1 &&
                           !(kind && strcmp(kind, "dumb") == 0)};
    if (locale) {
        t->utf8 = strcmp(nl_langinfo_l(CODESET, locale), "UTF-8") == 0;
        freelocale(locale);
    }
}

size_t cli_term_width(const cli_term *t)
{
    const char *columns = getenv("COLUMNS");
    struct winsize size;
    unsigned long n;

    if (ioctl(fileno(t->out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col;
    }
    n = columns ? strtoul(columns, NULL, 10) : 0;
    return n > 0 && n < 10000 ? n : 80;
}

/* Bytes of so many columns of a text. */
static size_t bytes_of(const char *text, size_t columns)
{
    size_t n = 0;

    for (size_t seen = 0; text[n]; n++) {
        if (((unsigned char)text[n] & 0xC0) != 0x80 && seen++ == columns) {
            break;
        }
    }
    return n;
}

/* The last column stays free: some terminals wrap after it. */
void cli_term_live(cli_term *t, const char *text)
{
    const size_t room = cli_term_width(t) - 1;
    size_t columns = cli_columns(text);
    size_t blanks;
    int bytes;

    if (!t->tty) {
        return;
    }
    columns = columns < room ? columns : room;
    bytes = (int)bytes_of(text, columns);
    blanks = t->shown > columns ? t->shown - columns : 0;
    fprintf(t->out, "\r%.*s%*s", bytes, text, (int)blanks, "");
    if (blanks > 0) {
        fprintf(t->out, "\r%.*s", bytes, text);
    }
    fflush(t->out);
    t->shown = columns;
}

void cli_term_clear(cli_term *t)
{
    if (t->shown > 0) {
        fprintf(t->out, "\r%*s\r", (int)t->shown, "");
        fflush(t->out);
        t->shown = 0;
    }
}

void cli_term_line(cli_term *t, const char *text)
{
    cli_term_clear(t);
    fprintf(t->out, "%s\n", text);
    fflush(t->out);
}

const char *cli_format_bytes(char text[CLI_TEXT_BYTES], uint64_t bytes)
{
    static const char *const names[] = {"KiB", "MiB", "GiB",
                                        "TiB", "PiB", "EiB"};
    double x = (double)bytes / 1024;
    size_t i = 0;

    if (bytes < 1024) {
        snprintf(text, CLI_TEXT_BYTES, "%u B", (unsigned)bytes);
        return text;
    }
    while (x >= 1023.95) { /* would be shown as 1024.0 */
        x /= 1024;
        i++;
    }
    snprintf(text, CLI_TEXT_BYTES, "%.1f %s", x, names[i]);
    return text;
}

const char *cli_format_duration(char text[CLI_TEXT_BYTES], double seconds)
{
    unsigned long s;

    if (!(seconds >= 0 && seconds < 1e12)) {
        snprintf(text, CLI_TEXT_BYTES, "-:--");
        return text;
    }
    s = (unsigned long)(seconds + 0.5);
    if (s >= 86400) {
        snprintf(text, CLI_TEXT_BYTES, "%lud %02lu:%02lu:%02lu", s / 86400,
                 s / 3600 % 24, s / 60 % 60, s % 60);
    } else if (s >= 3600) {
        snprintf(text, CLI_TEXT_BYTES, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60,
                 s % 60);
    } else {
        snprintf(text, CLI_TEXT_BYTES, "%lu:%02lu", s / 60, s % 60);
    }
    return text;
}

const char *cli_format_count(char text[CLI_TEXT_BYTES], uint64_t n)
{
    char digits[CLI_TEXT_BYTES];
    const int len =
        snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
    char *to = text;

    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) {
            *to++ = ',';
        }
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

/* A closed descriptor is opened the wrong way round, so that its use fails as
 * it would have. */
void cli_streams_protect(void)
{
    static const int wrong[] = {O_WRONLY, O_RDONLY, O_RDONLY};

    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", wrong[fd]) != fd) {
            _exit(CLI_EXIT_FAILED);
        }
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    if (interrupted) {
        _exit(CLI_EXIT_INTERRUPTED);
    }
    interrupted = 1;
}

void cli_signals_catch(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct sigaction old;

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
        sigaction(SIGHUP, &action, NULL); /* under nohup it stays ignored */
    }
}

static void on_stop(int number)
{
    (void)number;
    interrupted = 1;
}

void cli_signals_converse(void)
{
    struct sigaction stop = {.sa_handler = on_stop};
    struct sigaction end = {.sa_handler = SIG_DFL};
    struct sigaction old;

    sigemptyset(&stop.sa_mask);
    sigemptyset(&end.sa_mask);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &end, NULL);
    if (sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
        sigaction(SIGHUP, &end, NULL);
    }
}

bool cli_interrupt_clear(void)
{
    const bool was = interrupted != 0;

    interrupted = 0;
    return was;
}

bool cli_interrupted(void)
{
    return interrupted != 0;
}

/* A signal may come just before the wait, or be taken by another thread: it is
 * looked for. */
bool cli_await_input(void)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

    while (!interrupted && poll(&p, 1, LOOK_MS) <= 0) {
    }
    return !interrupted;
}
