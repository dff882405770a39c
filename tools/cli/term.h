/* The terminal: one live line of progress, numbers as people read them, and
 * Ctrl-C as a flag. */
#ifndef QL_CLI_TERM_H
#define QL_CLI_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Where progress goes. Only a terminal gets a live line. */
typedef struct cli_term {
    FILE *out;
    bool tty;     /* out is a terminal that can write over a line */
    bool utf8;    /* it shows what is not ASCII, as the locale says */
    size_t shown; /* columns of the live line on the screen */
} cli_term;

/* Looks at what out, usually stderr, is; with quiet it counts as no terminal.
 * Borrowed: out. */
void cli_term_init(cli_term *t, FILE *out, bool quiet);

/* Columns of the terminal: asked of it, else COLUMNS, else 80. */
size_t cli_term_width(const cli_term *t);

/* Replaces the live line; a text too wide is cut. Nothing if out is not a
 * terminal. text is UTF-8 without newlines and wide characters. */
void cli_term_live(cli_term *t, const char *text);

/* Removes the live line. */
void cli_term_clear(cli_term *t);

/* Writes text and a newline above a live line, which goes. */
void cli_term_line(cli_term *t, const char *text);

/* A buffer that the formats below fit into. */
enum {
    CLI_TEXT_BYTES = 32
};

/* "512 B", "1.2 GiB". Returns text. */
const char *cli_format_bytes(char text[CLI_TEXT_BYTES], uint64_t bytes);

/* "0:07", "1:23:45", "2d 03:04:05"; "-:--" for what is not a time. Returns
 * text. */
const char *cli_format_duration(char text[CLI_TEXT_BYTES], double seconds);

/* "1,234,567". Returns text. */
const char *cli_format_count(char text[CLI_TEXT_BYTES], uint64_t n);

/* Called before anything is opened. From here on a reader that goes away and a
 * file that must not grow are failures of a write, not the end of the process;
 * and no file is opened in the place of a closed stdin, stdout or stderr. */
void cli_streams_protect(void);

/* From here on the first SIGINT, SIGTERM or SIGHUP sets a flag, and the second
 * one ends the process at once with exit code 130. Under nohup SIGHUP stays
 * ignored. */
void cli_signals_catch(void);

/* After that, in a conversation: SIGINT sets the flag and ends a read that
 * waits, however often it comes; SIGTERM and SIGHUP end the process. */
void cli_signals_converse(void);

/* True after the first signal. */
bool cli_interrupted(void);

/* The same, and the flag is taken back. */
bool cli_interrupt_clear(void);

/* Waits for input from a terminal. False after a signal, also one that came
 * before. */
bool cli_await_input(void);

#endif
