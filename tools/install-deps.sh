#!/bin/sh
# Installs what qlora needs to be built, on Debian and Ubuntu:
#
#     tools/install-deps.sh          to build
#     tools/install-deps.sh tests    to run all tests too
#
# What is installed already is left alone; if all of it is, no network and no
# rights are needed.
# The lists of packages are meant to be split into words.
# shellcheck disable=SC2086
set -eu

build="meson ninja-build gcc libc6-dev pkg-config libopenblas-dev zlib1g-dev
libjansson-dev libpcre2-dev libutf8proc-dev libyaml-dev libcmocka-dev python3"
tests="clang clang-format libomp-dev mandoc"
cross="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"

case "$#:${1-}" in
0:) packages=$build ;;
1:tests) packages="$build $tests" ;;
*)
    echo "usage: $0 [tests]" >&2
    exit 2
    ;;
esac

say() {
    echo "install-deps: $*" >&2
}

missing() {
    for package in "$@"; do
        state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
        case $state in
        *" ok installed") ;;
        *) printf '%s ' "$package" ;;
        esac
    done
}

# As root, with questions answered by their defaults.
apt() {
    if [ "$(id -u)" -eq 0 ]; then
        DEBIAN_FRONTEND=noninteractive apt-get -qq "$@"
    elif command -v sudo >/dev/null; then
        sudo DEBIAN_FRONTEND=noninteractive apt-get -qq "$@"
    else
        say "needs root to install packages; run it as root, or install sudo"
        exit 1
    fi
}

updated=
install() {
    say "installing $*"
    if [ -z "$updated" ]; then
        apt update
        updated=yes
    fi
    # The packages' own chatter helps only when something goes wrong.
    log=$(mktemp)
    if ! apt -y --no-install-recommends install "$@" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        say "apt-get could not install $*"
        exit 1
    fi
    rm -f "$log"
}

# The sanitizers' runtime is a package of its own, named after the release.
has_sanitizers() {
    trial=$(mktemp -d)
    echo 'int main(void) { return 0; }' >"$trial/a.c"
    status=0
    clang -fsanitize=address,undefined -o "$trial/a" "$trial/a.c" \
        2>/dev/null || status=1
    rm -rf "$trial"
    return $status
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "this is no Debian or Ubuntu; install by hand what stands for:" \
        $packages
    exit 1
fi
# The cross compiler and gcc-multilib shut each other out.
if [ "${1-}" = tests ] && [ "$(dpkg --print-architecture)" = amd64 ]; then
    if [ -n "$(missing gcc-multilib)" ]; then
        packages="$packages $cross"
    else
        say "without $cross, for gcc-multilib is installed;" \
            "the tests for aarch64 will be skipped"
    fi
fi
# For the tests in real clients. Node.js may come from elsewhere, with npm.
if [ "${1-}" = tests ] && ! command -v npm >/dev/null; then
    packages="$packages nodejs npm"
fi
wanted=$(missing $packages)
if [ -n "$wanted" ]; then
    install $wanted
fi
if [ "${1-}" = tests ] && ! has_sanitizers; then
    install "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
    if ! has_sanitizers; then
        say "clang cannot build with -fsanitize=address,undefined"
        exit 1
    fi
fi
