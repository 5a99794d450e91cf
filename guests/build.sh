#!/bin/sh
# Builds every program in programs/ to OUT/NAME.elf, and those of other folders to OUT/FOLDER/NAME.elf (default: bin/ beside this script).
# Usage: build.sh [OUT]
# The result depends on the sources and the compiler only: no build id, no paths, no time.
set -eu
cd "$(dirname "$0")"
out=${1:-bin}
mkdir -p "$out"
: "${CC:=gcc}" "${OBJCOPY:=objcopy}"

flags="-std=gnu11 -O2 -ffreestanding -nostdlib -static -no-pie -fno-pie -Iinclude
       -Wall -Wextra -Werror -Wno-infinite-recursion -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none
       -ffunction-sections -fdata-sections -frandom-seed=guests
       -Wl,--gc-sections -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,max-page-size=4096"

objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
for source in runtime/*.c; do
    $CC $flags -c "$source" -o "$objects/$(basename "$source" .c).o"
done
for source in programs/*.c mshare/*.c udmabuf/*.c remote/*.c; do
    folder=$(dirname "$source")
    program=${folder#programs}
    program=$out/${program:+$program/}$(basename "$source" .c).elf
    mkdir -p "$(dirname "$program")"
    $CC $flags "$source" "$objects"/*.o -lgcc -o "$program"
    $OBJCOPY --remove-section=.comment "$program"
done
