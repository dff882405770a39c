#define PCRE2_CODE_UNIT_WIDTH 8
#include "src/text/scripts.h"

#include <pcre2.h>

#include "src/base/fail.h"

/* PCRE2 means the script extensions by the bare name of a script since it has
 * another name for the script itself. */
#if PCRE2_MAJOR > 10 || PCRE2_MINOR >= 40
#define SCRIPT(name) "\\p{sc:" name "}"
#define NOT_SCRIPT(name) "\\P{sc:" name "}"
#else
#define SCRIPT(name) "\\p{" name "}"
#define NOT_SCRIPT(name) "\\P{" name "}"
#endif

/* Characters that go with any script. */
#define ANY " " SCRIPT("Unknown")

#define HAN SCRIPT("Han") SCRIPT("Hiragana") SCRIPT("Katakana") "\\x{30fc}"

/* The scripts that the reference's table, of Unicode 9, tells apart. */
static const char *const names[] = {
    "Adlam",
    "Ahom",
    "Anatolian_Hieroglyphs",
    "Arabic",
    "Armenian",
    "Avestan",
    "Balinese",
    "Bamum",
    "Bassa_Vah",
    "Batak",
    "Bengali",
    "Bhaiksuki",
    "Bopomofo",
    "Brahmi",
    "Braille",
    "Buginese",
    "Buhid",
    "Canadian_Aboriginal",
    "Carian",
    "Caucasian_Albanian",
    "Chakma",
    "Cham",
    "Cherokee",
    "Coptic",
    "Cuneiform",
    "Cypriot",
    "Cyrillic",
    "Deseret",
    "Devanagari",
    "Duployan",
    "Egyptian_Hieroglyphs",
    "Elbasan",
    "Ethiopic",
    "Georgian",
    "Glagolitic",
    "Gothic",
    "Grantha",
    "Greek",
    "Gujarati",
    "Gurmukhi",
    "Hangul",
    "Hanunoo",
    "Hatran",
    "Hebrew",
    "Imperial_Aramaic",
    "Inherited",
    "Inscriptional_Pahlavi",
    "Inscriptional_Parthian",
    "Javanese",
    "Kaithi",
    "Kannada",
    "Kayah_Li",
    "Kharoshthi",
    "Khmer",
    "Khojki",
    "Khudawadi",
    "Lao",
    "Latin",
    "Lepcha",
    "Limbu",
    "Linear_A",
    "Linear_B",
    "Lisu",
    "Lycian",
    "Lydian",
    "Mahajani",
    "Malayalam",
    "Mandaic",
    "Manichaean",
    "Marchen",
    "Meetei_Mayek",
    "Mende_Kikakui",
    "Meroitic_Cursive",
    "Meroitic_Hieroglyphs",
    "Miao",
    "Modi",
    "Mongolian",
    "Mro",
    "Multani",
    "Myanmar",
    "Nabataean",
    "New_Tai_Lue",
    "Newa",
    "Nko",
    "Ogham",
    "Ol_Chiki",
    "Old_Hungarian",
    "Old_Italic",
    "Old_North_Arabian",
    "Old_Permic",
    "Old_Persian",
    "Old_South_Arabian",
    "Old_Turkic",
    "Oriya",
    "Osage",
    "Osmanya",
    "Pahawh_Hmong",
    "Palmyrene",
    "Pau_Cin_Hau",
    "Phags_Pa",
    "Phoenician",
    "Psalter_Pahlavi",
    "Rejang",
    "Runic",
    "Samaritan",
    "Saurashtra",
    "Sharada",
    "Shavian",
    "Siddham",
    "SignWriting",
    "Sinhala",
    "Sora_Sompeng",
    "Sundanese",
    "Syloti_Nagri",
    "Syriac",
    "Tagalog",
    "Tagbanwa",
    "Tai_Le",
    "Tai_Tham",
    "Tai_Viet",
    "Takri",
    "Tamil",
    "Tangut",
    "Telugu",
    "Thaana",
    "Thai",
    "Tibetan",
    "Tifinagh",
    "Tirhuta",
    "Ugaritic",
    "Vai",
    "Warang_Citi",
    "Yi",
};

ql_status ql_scripts_regex(ql_regex *out, const ql_part *part)
{
    enum {
        PATTERN_BYTES = 1 << 16
    };
    ql_status st;
    ql_buf text;

    ql_buf_init(&text, QL_TAG_TEXT, PATTERN_BYTES);
    QL_TRY_DONE(ql_buf_puts(&text, "[" HAN "][" HAN ANY "]*+"));
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        QL_TRY_DONE(ql_buf_printf(&text,
                                  "|" SCRIPT("%s") "[" SCRIPT("%s") ANY "]*+",
                                  names[i], names[i]));
    }
    QL_TRY_DONE(ql_buf_puts(
        &text,
        "|(?! )[^" NOT_SCRIPT("Common") "\\x{30fc}](?:[" ANY "]|[^" NOT_SCRIPT(
            "Common") "\\x{30fc}])*+"));
    st = ql_regex_compile(out, text.data, text.len, part);
done:
    ql_buf_free(&text);
    return st;
}
