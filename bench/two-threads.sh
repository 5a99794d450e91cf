#!/bin/bash
# What a second vCPU is worth: twice the work by two threads, against once the work by one, on a machine with two vCPUs. On a host with two idle processors
# the wall times say it; on a busy one only processor time does, which is what the vCPUs take from each other: nothing, if twice the work costs twice as much.
# usage: bench/two-threads.sh [ROUNDS]
set -eu
cd "$(dirname "$0")"
emulator=../emulator/Cli/bin/Release/net10.0/emulator
[ -x $emulator ] || { echo "build first: dotnet build -c Release" >&2; exit 1; }
program=$(mktemp); trap 'rm -f "$program"' EXIT
gcc -O2 -static -pthread -o "$program" speed/two_threads.c
TIMEFORMAT='%R %U %S'
for ((round = 0; round < ${1:-3}; round++)); do
    one=$( { time $emulator --vcpus 2 "$program" 1 >/dev/null; } 2>&1 )
    two=$( { time $emulator --vcpus 2 "$program" 2 >/dev/null; } 2>&1 )
    awk -v one="$one" -v two="$two" 'BEGIN { split(one, a); split(two, b)
        printf "one thread %.2f s, two %.2f s: %.2f times as fast; processor time %.2f s and %.2f s: %.2f times\n", a[1], b[1], 2 * a[1] / b[1], a[2] + a[3], b[2] + b[3], (b[2] + b[3]) / (a[2] + a[3]) }'
done
