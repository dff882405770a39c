#include "tools/bench/bench_data.h"

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/data/dataset_handle.h"

ql_status bench_data_make(ql_dataset **out, size_t n, size_t T, size_t V,
                          uint64_t seed)
{
    const uint64_t key = ql_rng_split(seed, 1);
    int32_t *ids = ql_alloc(QL_TAG_DATA, n * T, sizeof(*ids));
    uint8_t *train = ql_alloc(QL_TAG_DATA, T, sizeof(*train));
    ql_sample *samples = ql_alloc(QL_TAG_DATA, n, sizeof(*samples));
    ql_status st = QL_ENOMEM;

    if (ids && train && samples) {
        for (size_t i = 0; i < n * T; i++) {
            ids[i] = (int32_t)ql_rng_below(key, i, V);
        }
        for (size_t t = 0; t < T; t++) {
            train[t] = t > 0;
        }
        for (size_t i = 0; i < n; i++) {
            samples[i] =
                (ql_sample){.ids = ids + i * T, .train = train, .n = T};
        }
        st = ql_dataset_of_samples(out, samples, n);
    }
    ql_free(ids);
    ql_free(train);
    ql_free(samples);
    return st;
}
