#!/bin/sh
# The cross compiler and QEMU for the tests: installed by apt as root on Debian, else only named.
# Never fails: tests that need a missing tool say so (skipped at home, failed if CI is set).
set -u

packages="gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"

missing() {
    ! command -v arm-none-eabi-gcc >/dev/null ||
        ! command -v qemu-system-arm >/dev/null ||
        # without newlib the compiler prints the bare name back
        test "$(arm-none-eabi-gcc -print-file-name=libc.a)" = libc.a
}

if ! missing; then
    exit 0
fi
if command -v apt-get >/dev/null && test -f /etc/debian_version && test "$(id -u)" = 0; then
    echo "make: installing $packages by apt"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # a list of words
    if apt-get update -qq </dev/null &&
        apt-get install -y -qq --no-install-recommends $packages </dev/null >/dev/null; then
        exit 0
    fi
    echo "make: apt failed; going on without $packages" >&2
    exit 0
fi
echo "make: going on without all of: $packages" >&2
echo "make: on Debian or Ubuntu: sudo apt-get install $packages" >&2
exit 0
