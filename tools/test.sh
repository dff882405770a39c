#!/usr/bin/env bash
# Builds qlora and runs all of its tests:
#
#   1. a release build by gcc, in which warnings are errors: all tests, those
#      of aarch64 under emulation;
#   2. the same build: suites kernel, grad and golden again for each
#      instruction set that this machine has;
#   3. a build by clang with assertions, AddressSanitizer and
#      UndefinedBehaviorSanitizer: all tests.
#
# Installs what is missing first. Builds in build/ and build-asan/, or in
# $QL_BUILD and $QL_BUILD-asan. The last line counts the test programs that
# ran: "N passed, N failed, N skipped". Fails if one failed or none ran.
set -euo pipefail
cd "$(dirname "$0")/.."

build=${QL_BUILD:-build}
asan=$build-asan
isa_suites=(kernel grad golden)
logs=()

say() {
    printf '\n== %s\n' "$*"
}

# setup FOLDER COMPILER OPTION...
setup() {
    local folder=$1 compiler=$2
    shift 2
    if [ -e "$folder/meson-private/coredata.dat" ]; then
        meson setup --reconfigure "$folder" "$@" >"$folder/setup.log" || {
            cat "$folder/setup.log" >&2
            return 1
        }
    else
        CC=$compiler meson setup "$folder" "$@"
    fi
    ninja -C "$folder"
}

# run FOLDER NAME OPTION...: meson's verdict is read from its log, so that one
# failure does not keep the other runs from happening.
run() {
    local folder=$1 name=$2
    shift 2
    rm -f "$folder/meson-logs/$name.json"
    meson test -C "$folder" --no-rebuild --print-errorlogs --logbase "$name" \
        "$@" || true
    logs+=("$folder/meson-logs/$name.json")
}

# The instruction sets of "isa: NAME (available: NAME...)".
isa_list() {
    "$build/tools/qlora-quantize" --version |
        sed -n 's/^isa: .*(available: \(.*\))$/\1/p' | grep .
}

# Leaks are found only where the process may trace itself.
leak_detection() {
    local trial
    trial=$(mktemp -d)
    echo 'int main(void) { return 0; }' >"$trial/a.c"
    clang -fsanitize=address -o "$trial/a" "$trial/a.c"
    if ASAN_OPTIONS=detect_leaks=1 "$trial/a" >/dev/null 2>&1; then
        echo 1
    else
        echo 0
    fi
    rm -rf "$trial"
}

# Adds up the runs: each log has one line of JSON for each test program.
count() {
    python3 - "$@" <<'END'
import json
import os
import sys

names = {'OK': 'passed', 'EXPECTEDFAIL': 'passed', 'SKIP': 'skipped'}
counts = {'passed': 0, 'failed': 0, 'skipped': 0}
failed = []
for path in sys.argv[1:]:
    if not os.path.exists(path):
        continue  # no test in that run's suites
    with open(path, encoding='utf-8') as log:
        for line in log:
            test = json.loads(line)
            verdict = names.get(test['result'], 'failed')
            counts[verdict] += 1
            if verdict == 'failed':
                run = os.path.basename(path)[:-len('.json')]
                failed.append(f"{test['result']}: {test['name']} ({run})")
print()
for name in failed:
    print(name)
print(', '.join(f'{n} {what}' for what, n in counts.items()))
sys.exit(counts['failed'] > 0 or counts['passed'] == 0)
END
}

tools/install-deps.sh tests

say "release build, gcc"
setup "$build" gcc --werror --buildtype release
say "all tests"
run "$build" release

isas=
if [ -x "$build/tools/qlora-quantize" ]; then
    isas=$(isa_list)
fi
for isa in $isas; do
    suites=("${isa_suites[@]}")
    # Golden values are held to the accuracy of f32.
    [[ $isa == *bf16 ]] && suites=(kernel grad)
    say "suites ${suites[*]} with $isa"
    QL_ISA=$isa run "$build" "release-$isa" "${suites[@]/#/--suite=}"
done

say "clang, AddressSanitizer and UndefinedBehaviorSanitizer"
setup "$asan" clang --werror --buildtype debugoptimized -Db_ndebug=false \
    -Db_sanitize=address,undefined -Db_lundef=false
say "all tests, sanitized"
ASAN_OPTIONS=detect_leaks=$(leak_detection) \
    LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0 \
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    run "$asan" sanitized --timeout-multiplier 5

count "${logs[@]}"
