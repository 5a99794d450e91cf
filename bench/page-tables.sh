#!/bin/sh
# Page-table memory of clients of one large memory, with shared mappings and with mshare, as a Markdown table: page-tables.sh [EMULATOR...]
# Each cell is a run of guests/bin/mshare/clients.elf, and its number what /proc/meminfo says when all clients have come.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- dotnet emulator/Cli/bin/Release/net10.0/emulator.dll

echo "| clients | memory | shared mappings, kB | mshare, kB | ratio |"
echo "| ---: | ---: | ---: | ---: | ---: |"
for memory in 64 1024 16384; do
    for clients in 1 10 100 1000; do
        # What a thousand private sets of tables for the largest memory would take is more than most hosts have.
        shared=; [ $((clients * memory)) -gt 4000000 ] || shared=$("$@" --memory 512G guests/bin/mshare/clients.elf shared "$clients" "$memory" | sed -n 's/.* clients: \([0-9]*\) kB.*for each/\1/p')
        mshare=$("$@" --memory 512G guests/bin/mshare/clients.elf mshare "$clients" "$memory" | sed -n 's/.* clients: \([0-9]*\) kB.*for each/\1/p')
        ratio=-; [ -z "$shared" ] || ratio=$(awk "BEGIN { printf \"%.1f\", $shared / $mshare }")
        echo "| $clients | $memory MiB | ${shared:--} | $mshare | $ratio |"
    done
done
