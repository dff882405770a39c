/* A message shows if the text changes when it says something else, in a role
 * that nobody knows; it need not show as it is. */
#include "src/text/role.h"

#include <string.h>

#include "src/base/fail.h"

/* The others are shown, or written otherwise, see style.c. */
static bool is_common(const char *role)
{
    static const char *const common[] = {"system", "user", "assistant", "tool"};

    for (size_t i = 0; i < sizeof(common) / sizeof(*common); i++) {
        if (strcmp(role, common[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The text with another message in the place of the i-th. */
static ql_status write_other(const ql_style *s, const ql_talk *t, size_t i,
                             ql_buf *text)
{
    ql_talk other = *t;
    ql_status st;

    other.messages = json_copy(t->messages);
    st = ql_field_held(
        other.messages &&
        json_array_set_new(other.messages, i,
                           json_pack("{s:s, s:s}", "role", ql_style_word,
                                     "content", ql_style_word)) == 0);
    if (st == QL_OK) {
        st = ql_style_write(s, &other, json_array_size(other.messages), false,
                            text, NULL);
    }
    json_decref(other.messages);
    return st;
}

/* whole: the text of all messages. */
static ql_status check(const ql_style *s, const ql_talk *t, size_t i,
                       const ql_buf *whole)
{
    ql_buf text;
    ql_status st;

    ql_buf_init(&text, QL_TAG_DATA, SIZE_MAX / 4);
    st = write_other(s, t, i, &text);
    if (st == QL_OK && text.len == whole->len &&
        memcmp(text.data, whole->data, text.len) == 0) {
        st = ql_fail(QL_EUNSUPPORTED,
                     "the chat template does not show messages of the role "
                     "\"%s\"",
                     ql_talk_role(t, i));
    } else if (st != QL_ENOMEM) {
        st = QL_OK;
    }
    ql_buf_free(&text);
    return st;
}

ql_status ql_roles_check(const ql_style *s, const ql_talk *t)
{
    const size_t n = json_array_size(t->messages);
    bool written = false;
    ql_buf whole;
    ql_status st = QL_OK;

    ql_buf_init(&whole, QL_TAG_DATA, SIZE_MAX / 4);
    for (size_t i = 0; i < n && st == QL_OK; i++) {
        if (is_common(ql_talk_role(t, i))) {
            continue;
        }
        st = written ? QL_OK : ql_style_write(s, t, n, false, &whole, NULL);
        if (st != QL_OK) {
            st = st == QL_ENOMEM ? st : QL_OK;
            break;
        }
        written = true;
        st = check(s, t, i, &whole);
    }
    ql_buf_free(&whole);
    return st;
}
