#!/bin/bash
# Times the programs of bench/speed under this emulator and under qemu-x86_64 (Debian: apt-get install qemu-user), natively too: user plus
# system time of whole processes, the best of N rounds each, taken in turns so that a busy machine disturbs all alike.
# Programs run about a second under qemu, so that starting the emulator, some tenths of one, decides nothing.
# usage: bench/speed.sh [-n ROUNDS] [PROGRAM...]
set -eu
cd "$(dirname "$0")"
rounds=3
[ "${1-}" = -n ] && { rounds=$2; shift 2; }
emulator=../emulator/Cli/bin/Release/net10.0/emulator
[ -x $emulator ] || { echo "build first: dotnet build -c Release" >&2; exit 1; }
command -v qemu-x86_64 >/dev/null || { echo "qemu-x86_64 is not installed" >&2; exit 1; }
out=$(mktemp -d); trap 'rm -rf "$out"' EXIT
[ $# -gt 0 ] || set -- sieve sha256 calls sort bytecode random chase strings copy matmul nbody syscalls mapping pingpong
# Milliseconds of user plus system time of a command, whose output must be the expected one.
cost() { local TIMEFORMAT='%U %S' times; times=$( { time "$@" >"$out/said" 2>/dev/null; } 2>&1 ); awk '{ printf "%d", ($1 + $2) * 1000 }' <<<"$times"; }
printf '%-10s %10s %10s %10s %8s\n' program native qemu emulator ratio
for name; do
    gcc -O2 -static -pthread -o "$out/$name" speed/$name.c -lm
    "$out/$name" >"$out/expected"
    best_n=; best_q=; best_e=
    for ((i = 0; i < rounds; i++)); do
        n=$(cost "$out/$name"); q=$(cost qemu-x86_64 "$out/$name"); cmp -s "$out/said" "$out/expected" || echo "$name: qemu differs" >&2
        e=$(cost $emulator --vcpus 2 "$out/$name"); cmp -s "$out/said" "$out/expected" || echo "$name: emulator differs" >&2
        best_n=$(( ${best_n:-$n} < n ? ${best_n:-$n} : n )); best_q=$(( ${best_q:-$q} < q ? ${best_q:-$q} : q )); best_e=$(( ${best_e:-$e} < e ? ${best_e:-$e} : e ))
    done
    awk -v p="$name" -v n=$best_n -v q=$best_q -v e=$best_e 'BEGIN { printf "%-10s %7d ms %7d ms %7d ms %7.2fx\n", p, n, q, e, e / (q > 0 ? q : 1) }' | tee -a "$out/table"
done
awk '{ sum += log($NF + 0); n++ } END { printf "geometric mean of %d ratios: %.2fx\n", n, exp(sum / n) }' "$out/table"
