/* adapter_config.json as PEFT writes it. Source: peft tuners/lora/config.py,
 * tuners_utils.py. */
#ifndef QL_CONVERT_ADAPTER_SETTINGS_H
#define QL_CONVERT_ADAPTER_SETTINGS_H

#include "src/base/json.h"

typedef struct ql_adapter_settings {
    json_t *root;
    char *path; /* of the file, for errors */
    size_t r;
    double alpha, dropout;
    bool rslora, dora;
    bool fan_in_fan_out;
    bool tied;   /* ensure_weight_tying */
    bool biases; /* those of the base were trained, too */
} ql_adapter_settings;

/* Reads dir/adapter_config.json. Errors: QL_ENOTFOUND, QL_EFORMAT;
 * QL_EUNSUPPORTED for a key that changes the meaning and that we do not know,
 * named; QL_EIO, QL_ENOMEM. */
ql_status ql_adapter_settings_init(ql_adapter_settings *s, const char *dir);
void ql_adapter_settings_free(ql_adapter_settings *s);

/* Tells the user which keys have a value and are not known. Errors:
 * QL_ENOMEM. */
ql_status ql_adapter_settings_tell(const ql_adapter_settings *s);

/* Rank and alpha of a module: those of the first key of rank_pattern and
 * alpha_pattern that matches its path, as re.match(r"(.*\.)?(KEY)$") does; else
 * the general ones. Errors: QL_EFORMAT, QL_EUNSUPPORTED for a key that is no
 * pattern, QL_ENOMEM. */
ql_status ql_adapter_settings_module(const ql_adapter_settings *s,
                                     const char *path, size_t *r,
                                     double *alpha);

/* The settings ask for the module of this path: target_modules by equality,
 * by ending, or as a pattern that stands for all of it; exclude_modules
 * likewise; layers_to_transform by the number in the path. Errors: as
 * above. */
ql_status ql_adapter_settings_targets(const ql_adapter_settings *s,
                                      const char *path, bool *yes);

/* A name of modules_to_save stands for the module of this path, or one that it
 * is in: for PEFT, each whose path ends in these letters is meant. */
bool ql_adapter_settings_is_in(const char *path, const char *name);

/* One of them does. */
bool ql_adapter_settings_saves(const ql_adapter_settings *s, const char *path);

/* One of them does, or it is a classifier's head, which PEFT trains whole
 * whether it is named or not. */
bool ql_adapter_settings_takes(const ql_adapter_settings *s, const char *path);

#endif
