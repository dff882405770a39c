#include "src/base/room.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATH_BYTES = 4096
};

/* Where a version of control groups has its folders and what it calls the
 * files. */
typedef struct kind {
    const char *controller; /* in /proc/self/cgroup */
    const char *mount, *limit, *usage;
    const char *inactive, *active; /* in memory.stat */
} kind;

static const kind kinds[] = {
    {"", "/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file",
     "active_file"},
    {"memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes",
     "memory.usage_in_bytes", "total_inactive_file", "total_active_file"},
};

/* The number behind a word at the start of a line. */
static bool read_field(const char *path, const char *word, uint64_t *out)
{
    const size_t n = strlen(word);
    FILE *f = fopen(path, "r");
    char line[256];
    bool found = false;

    while (f && !found && fgets(line, sizeof(line), f)) {
        char *end;

        if (strncmp(line, word, n) == 0) {
            *out = strtoull(line + n, &end, 10);
            found = end > line + n; /* "max" is no number */
        }
    }
    if (f) {
        fclose(f);
    }
    return found;
}

/* What a control group leaves; UINT64_MAX without a limit. */
static uint64_t group_room(const kind *k, const char *dir)
{
    char path[PATH_BYTES + 64];
    uint64_t limit;
    uint64_t usage;
    uint64_t inactive = 0;
    uint64_t active = 0;

    snprintf(path, sizeof(path), "%s/%s", dir, k->limit);
    if (!read_field(path, "", &limit)) {
        return UINT64_MAX;
    }
    snprintf(path, sizeof(path), "%s/%s", dir, k->usage);
    if (!read_field(path, "", &usage)) {
        return UINT64_MAX;
    }
    snprintf(path, sizeof(path), "%s/memory.stat", dir);
    read_field(path, k->inactive, &inactive);
    read_field(path, k->active, &active);
    usage -= usage > inactive + active ? inactive + active : usage;
    return limit > usage ? limit - usage : 0;
}

/* The least that a group and those above it leave. group begins with "/"; it
 * need not be there, since a container may not see its own. */
static uint64_t groups_room(const char *root, const kind *k, const char *group)
{
    uint64_t least = UINT64_MAX;
    char dir[PATH_BYTES];
    size_t top;

    top = (size_t)snprintf(dir, sizeof(dir), "%s%s", root, k->mount);
    if (top >= sizeof(dir)) {
        return least;
    }
    snprintf(dir + top, sizeof(dir) - top, "%s", group);
    for (;;) {
        const uint64_t room = group_room(k, dir);
        char *slash = strrchr(dir + top, '/');

        least = room < least ? room : least;
        if (!slash) {
            return least;
        }
        *slash = '\0';
    }
}

/* Over the lines of /proc/self/cgroup: "4:memory:/a/b", "0::/a/b". */
static uint64_t all_groups_room(const char *root)
{
    uint64_t least = UINT64_MAX;
    char line[PATH_BYTES];
    FILE *f;

    snprintf(line, sizeof(line), "%s/proc/self/cgroup", root);
    f = fopen(line, "r");
    while (f && fgets(line, sizeof(line), f)) {
        char *controller = strchr(line, ':');
        char *group = controller ? strchr(controller + 1, ':') : NULL;

        if (!group) {
            continue;
        }
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
            if (strcmp(controller + 1, kinds[i].controller) == 0) {
                const uint64_t room = groups_room(root, &kinds[i], group);

                least = room < least ? room : least;
            }
        }
    }
    if (f) {
        fclose(f);
    }
    return least;
}

uint64_t ql_memory_room(const char *root)
{
    const uint64_t groups = all_groups_room(root);
    char path[PATH_BYTES];
    uint64_t available;

    snprintf(path, sizeof(path), "%s/proc/meminfo", root);
    if (!read_field(path, "MemAvailable:", &available) ||
        available > UINT64_MAX / 1024) {
        return groups;
    }
    available *= 1024;
    return available < groups ? available : groups;
}
