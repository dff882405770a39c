#include "src/train/tensorboard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/clock.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/train/row_fields.h"

/* Numbers of the fields, from event.proto and summary.proto. */
enum {
    EVENT_WALL_TIME = 1,
    EVENT_STEP = 2,
    EVENT_FILE_VERSION = 3,
    EVENT_SUMMARY = 5,
    EVENT_SESSION_LOG = 7,
    SESSION_LOG_STATUS = 1,
    SESSION_LOG_START = 1,
    SUMMARY_VALUE = 1,
    VALUE_TAG = 1,
    VALUE_SIMPLE = 2,
    MAX_EVENT = 1 << 16,
    MAX_HOST = 64
};

/* How a field is written, in the lower three bits of its tag. */
enum {
    WIRE_VARINT = 0,
    WIRE_64 = 1,
    WIRE_BYTES = 2,
    WIRE_32 = 5
};

/* The lower n bytes of x, the lowest first. */
static ql_status put_le(ql_buf *b, uint64_t x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        QL_TRY(ql_buf_putc(b, (char)(x >> 8 * i & 0xff)));
    }
    return QL_OK;
}

static ql_status put_varint(ql_buf *b, uint64_t x)
{
    while (x >= 0x80) {
        QL_TRY(ql_buf_putc(b, (char)(x | 0x80)));
        x >>= 7;
    }
    return ql_buf_putc(b, (char)x);
}

static ql_status put_tag(ql_buf *b, unsigned number, unsigned wire)
{
    return put_varint(b, number << 3 | wire);
}

static ql_status put_bytes(ql_buf *b, unsigned number, const void *data,
                           size_t n)
{
    QL_TRY(put_tag(b, number, WIRE_BYTES));
    QL_TRY(put_varint(b, n));
    return ql_buf_append(b, data, n);
}

/* One value of a summary. */
static ql_status put_value(ql_tensorboard *t, const char *tag, double x)
{
    const float simple = (float)x;
    ql_buf *value = &t->value;
    uint32_t bits;

    memcpy(&bits, &simple, sizeof(bits));
    ql_buf_clear(value);
    QL_TRY(put_bytes(value, VALUE_TAG, tag, strlen(tag)));
    QL_TRY(put_tag(value, VALUE_SIMPLE, WIRE_32));
    QL_TRY(put_le(value, bits, sizeof(bits)));
    return put_bytes(&t->summary, SUMMARY_VALUE, value->data, value->len);
}

/* transformers: what is named eval_x becomes "eval/x", the rest "train/x". */
static ql_status put_summary(ql_tensorboard *t, const ql_train_event *e)
{
    ql_buf_clear(&t->summary);
    for (size_t i = 0; i < QL_ROW_FIELDS; i++) {
        const ql_row_field *f = &ql_row_fields[i];
        const bool eval = strncmp(f->key, "eval_", 5) == 0;
        char tag[64];

        if (!(f->kinds & 1 << e->kind) || (f->classes && !e->classifies) ||
            strcmp(f->key, "step") == 0) {
            continue;
        }
        snprintf(tag, sizeof(tag), "%s/%s", eval ? "eval" : "train",
                 f->key + (eval ? 5 : 0));
        QL_TRY(put_value(t, tag, ql_row_value(f, e)));
    }
    return QL_OK;
}

/* CRC-32C (Castagnoli), bit by bit: a row has a few hundred bytes. */
static uint32_t crc32c(const void *data, size_t n)
{
    const unsigned char *p = data;
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
        }
    }
    return ~crc;
}

/* A sum that may be summed over itself: rotated, and moved. */
static uint32_t masked_crc(const void *data, size_t n)
{
    const uint32_t crc = crc32c(data, n);

    return (crc >> 15 | crc << 17) + 0xa282ead8;
}

static ql_status write_all(const ql_tensorboard *t, const char *p, size_t n)
{
    while (n > 0) {
        const ssize_t w = write(t->fd, p, n);

        if (w < 0 && errno != EINTR) {
            return ql_fail_errno("cannot write %s", t->path);
        }
        if (w > 0) {
            p += w;
            n -= (size_t)w;
        }
    }
    return QL_OK;
}

/* A record: length, its sum, the event, its sum. */
static ql_status write_record(ql_tensorboard *t)
{
    const ql_buf *event = &t->event;
    ql_buf *b = &t->record;

    ql_buf_clear(b);
    QL_TRY(put_le(b, event->len, 8));
    QL_TRY(put_le(b, masked_crc(b->data, 8), 4));
    QL_TRY(ql_buf_append(b, event->data, event->len));
    QL_TRY(put_le(b, masked_crc(event->data, event->len), 4));
    return write_all(t, b->data, b->len);
}

/* An event of now, at a step, with one more field of bytes. */
static ql_status write_event(ql_tensorboard *t, size_t step, unsigned number,
                             const void *data, size_t n)
{
    const double now = ql_wall_s();
    ql_buf *b = &t->event;
    uint64_t bits;

    memcpy(&bits, &now, sizeof(bits));
    ql_buf_clear(b);
    QL_TRY(put_tag(b, EVENT_WALL_TIME, WIRE_64));
    QL_TRY(put_le(b, bits, sizeof(bits)));
    QL_TRY(put_tag(b, EVENT_STEP, WIRE_VARINT));
    QL_TRY(put_varint(b, step));
    QL_TRY(put_bytes(b, number, data, n));
    return write_record(t);
}

static ql_status open_file(ql_tensorboard *t, const char *folder)
{
    char host[MAX_HOST] = "";
    char name[MAX_HOST + 96];

    QL_TRY(ql_dir_make(folder));
    if (gethostname(host, sizeof(host) - 1) != 0 || strchr(host, '/')) {
        snprintf(host, sizeof(host), "host");
    }
    snprintf(name, sizeof(name), "events.out.tfevents.%.6f.%s.%ld.0",
             ql_wall_s(), host, (long)getpid());
    t->path = ql_path_join(folder, name);
    if (!t->path) {
        return QL_ENOMEM;
    }
    t->fd = open(t->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    return t->fd >= 0 ? QL_OK : ql_fail_errno("cannot write %s", t->path);
}

ql_status ql_tensorboard_init(ql_tensorboard *t, const char *dir, size_t step)
{
    static const char version[] = "brain.Event:2";
    static const char start[] = {SESSION_LOG_STATUS << 3 | WIRE_VARINT,
                                 SESSION_LOG_START};
    char *folder = ql_path_join(dir, "runs");
    ql_status st = folder ? QL_OK : QL_ENOMEM;

    *t = (ql_tensorboard){.fd = -1};
    ql_buf_init(&t->value, QL_TAG_MISC, MAX_EVENT);
    ql_buf_init(&t->summary, QL_TAG_MISC, MAX_EVENT);
    ql_buf_init(&t->event, QL_TAG_MISC, 2 * MAX_EVENT);
    ql_buf_init(&t->record, QL_TAG_MISC, 3 * MAX_EVENT);
    if (st == QL_OK) {
        st = open_file(t, folder);
    }
    ql_free(folder);
    if (st == QL_OK) {
        st =
            write_event(t, 0, EVENT_FILE_VERSION, version, sizeof(version) - 1);
    }
    if (st == QL_OK) {
        st = write_event(t, step, EVENT_SESSION_LOG, start, sizeof(start));
    }
    if (st != QL_OK) {
        ql_tensorboard_free(t, true);
    }
    return st;
}

ql_status ql_tensorboard_add(ql_tensorboard *t, const ql_train_event *e)
{
    ql_status st;

    if (!t->path) {
        return QL_OK;
    }
    st = put_summary(t, e);
    if (st == QL_OK) {
        st = write_event(t, e->step, EVENT_SUMMARY, t->summary.data,
                         t->summary.len);
    }
    if (st != QL_OK) {
        ql_tensorboard_free(t, true);
    }
    return st;
}

void ql_tensorboard_free(ql_tensorboard *t, bool keep)
{
    if (t->path && t->fd >= 0) {
        close(t->fd);
    }
    if (t->path && !keep) {
        unlink(t->path);
        *strrchr(t->path, '/') = '\0';
        rmdir(t->path); /* stays where there are others */
    }
    ql_buf_free(&t->value);
    ql_buf_free(&t->summary);
    ql_buf_free(&t->event);
    ql_buf_free(&t->record);
    ql_free(t->path);
    *t = (ql_tensorboard){0};
}
