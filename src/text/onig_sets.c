#define PCRE2_CODE_UNIT_WIDTH 8
#include "src/text/onig_sets.h"

#include <pcre2.h>
#include <string.h>

/* Unicode's White_Space, and all else. */
#define SPACE                                                                  \
    "\\x{09}-\\x{0d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}"         \
    "\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NOT_SPACE                                                              \
    "\\x{00}-\\x{08}\\x{0e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}"             \
    "\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}"                  \
    "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}"                \
    "\\x{3001}-\\x{10ffff}"

/* Some names are newer than PCRE2 10.40. The property Alphabetic is then told
 * from its neighbours in Unicode, and a script by its bare name, which means
 * the script extensions since there is another name for the script itself. */
#if PCRE2_MAJOR > 10 || PCRE2_MINOR >= 40
#define ALPHABETIC "\\p{Alphabetic}"
#define SCRIPT "sc:"
#else
#define ALPHABETIC "\\p{L}\\p{Nl}\\p{Mc}"
#define SCRIPT ""
#endif

/* Letters, marks, digits, numbers and symbols that are letters, connectors:
 * what Oniguruma has for \w within brackets. Outside it has six numbers of
 * Latin-1 more, superscripts and fractions. */
#define WORD                                                                   \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}"                     \
    "\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
#define WORD_OUTSIDE WORD "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define HEX "0-9A-Fa-f"

/* Behind a place, or before it, is a part of a word; or not. */
#define BEHIND "(?<=[" WORD_OUTSIDE "])"
#define NOT_BEHIND "(?<![" WORD_OUTSIDE "])"
#define AHEAD "(?=[" WORD_OUTSIDE "])"
#define NOT_AHEAD "(?![" WORD_OUTSIDE "])"

static const struct {
    char name;
    const char *outside;
    const char *within;
} escapes[] = {
    {'s', "[" SPACE "]", SPACE},
    {'S', "[^" SPACE "]", NOT_SPACE},
    {'w', "[" WORD_OUTSIDE "]", WORD},
    {'W', "[^" WORD_OUTSIDE "]", NULL},
    {'d', "\\p{Nd}", "\\p{Nd}"},
    {'D', "\\P{Nd}", "\\P{Nd}"},
    {'h', "[" HEX "]", HEX},
    {'H', "[^" HEX "]", NULL},
    {'b', "(?:" BEHIND NOT_AHEAD "|" NOT_BEHIND AHEAD ")", "\\x{08}"},
    {'B', "(?:" BEHIND AHEAD "|" NOT_BEHIND NOT_AHEAD ")", NULL},
    {'A', "\\A", NULL},
    {'z', "\\z", NULL},
    {'Z', "(?=\\n?\\z)", NULL},
    {'R', "(?>\\r\\n|[\\x{0a}-\\x{0d}\\x{85}\\x{2028}\\x{2029}])", NULL},
    {'N', "[^\\n]", NULL},
    {'O', "(?s:.)", NULL},
    {'n', "\\n", "\\n"},
    {'r', "\\r", "\\r"},
    {'t', "\\t", "\\t"},
    {'f', "\\f", "\\f"},
    {'v', "\\x{0b}", "\\x{0b}"},
    {'a', "\\x{07}", "\\x{07}"},
    {'e', "\\x{1b}", "\\x{1b}"},
    {'0', "\\x{00}", "\\x{00}"},
};

static const struct {
    const char *name;
    const char *set;
    const char *other;
} classes[] = {
    {"alpha", ALPHABETIC, NULL},
    {"alnum", ALPHABETIC "\\p{Nd}", NULL},
    {"digit", "\\p{Nd}", "\\P{Nd}"},
    {"xdigit", HEX, NULL},
    {"upper", "\\p{Uppercase}", "\\P{Uppercase}"},
    {"lower", "\\p{Lowercase}", "\\P{Lowercase}"},
    {"space", SPACE, NOT_SPACE},
    {"blank", "\\p{Zs}\\t", NULL},
    {"cntrl", "\\p{Cc}", "\\P{Cc}"},
    {"word", WORD, NULL},
    {"ascii", "\\x{00}-\\x{7f}", "\\x{80}-\\x{10ffff}"},
};

/* Long names of the general categories, and the properties that are neither
 * category nor script, spelled as PCRE2 compares them. */
static const struct {
    const char *name;
    const char *pcre2;
} properties[] = {
    {"letter", "L"},
    {"lowercaseletter", "Ll"},
    {"uppercaseletter", "Lu"},
    {"titlecaseletter", "Lt"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"mark", "M"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"number", "N"},
    {"digit", "Nd"},
    {"decimalnumber", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"openpunctuation", "Ps"},
    {"closepunctuation", "Pe"},
    {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"},
    {"otherpunctuation", "Po"},
    {"symbol", "S"},
    {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"spaceseparator", "Zs"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
    {"other", "C"},
    {"control", "Cc"},
    {"cntrl", "Cc"},
    {"format", "Cf"},
    {"surrogate", "Cs"},
    {"privateuse", "Co"},
    {"unassigned", "Cn"},
    {"any", "Any"},
    {"alphabetic", "Alphabetic"},
    {"alpha", "Alphabetic"},
    {"uppercase", "Uppercase"},
    {"upper", "Uppercase"},
    {"lowercase", "Lowercase"},
    {"lower", "Lowercase"},
    {"whitespace", "White_Space"},
    {"space", "White_Space"},
    {"ideographic", "Ideographic"},
    {"emoji", "Emoji"},
    {"emojipresentation", "Emoji_Presentation"},
    {"emojimodifier", "Emoji_Modifier"},
    {"extendedpictographic", "Extended_Pictographic"},
};

const char *ql_onig_escape(char c, bool within)
{
    for (size_t i = 0; i < sizeof(escapes) / sizeof(*escapes); i++) {
        if (escapes[i].name == c) {
            return within ? escapes[i].within : escapes[i].outside;
        }
    }
    return NULL;
}

const char *ql_onig_class(const char *name, size_t n, bool negated)
{
    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
        if (strlen(classes[i].name) == n &&
            memcmp(classes[i].name, name, n) == 0) {
            return negated ? classes[i].other : classes[i].set;
        }
    }
    return NULL;
}

/* Copies a name without its case, spaces and dashes. False if it is too long
 * or holds anything but letters. */
static bool plain_name(const char *name, size_t n, char *out, size_t cap)
{
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        const char lower = (char)(name[i] | 0x20);

        if (name[i] == ' ' || name[i] == '_' || name[i] == '-') {
            continue;
        }
        if (lower < 'a' || lower > 'z' || len + 1 == cap) {
            return false;
        }
        out[len++] = lower;
    }
    out[len] = '\0';
    return len > 0;
}

bool ql_onig_property(const char *name, size_t n, bool negated, ql_buf *out,
                      ql_status *st)
{
    const char *kind = negated ? "P" : "p";
    char plain[40];

    if (!plain_name(name, n, plain, sizeof(plain))) {
        return false;
    }
    for (size_t i = 0; i < sizeof(properties) / sizeof(*properties); i++) {
        if (strcmp(plain, properties[i].name) == 0) {
            *st = ql_buf_printf(out, "\\%s{%s}", kind, properties[i].pcre2);
            return true;
        }
    }
    if (strlen(plain) <= 2) {
        plain[0] = (char)(plain[0] - 'a' + 'A');
        *st = ql_buf_printf(out, "\\%s{%s}", kind, plain);
    } else {
        *st = ql_buf_printf(out, "\\%s{" SCRIPT "%s}", kind, plain);
    }
    return true;
}
