namespace Emulator.Tests.Guests;

/// <summary>Scripts whose output depends on nothing but the shell, the applets and the folder they run in.</summary>
public static class BusyboxScripts
{
    public sealed record Script(string Name, string Text);

    public static IReadOnlyList<Script> Shell { get; } =
    [
        new("pipes", "echo one two three | tr ' ' '\\n' | sort | while read w; do echo \"<$w>\"; done; seq 1 1000 | sed -n '500,502p' | cat | cat | wc -l"),
        new("redirections", "echo a >f; echo b >>f; cat <f; cat f f >g; wc -l <g; echo err >&2; { echo out; echo err2 >&2; } 2>&1 | sort; exec 3<f; read x <&3; echo $x; exec 3<&-; : >empty; wc -c <empty; cat nothere 2>/dev/null; echo $?"),
        new("subshells", "x=1; (x=2; echo $x; exit 3); echo $? $x; y=$(echo $(echo deep)); echo $y; (cd / && pwd); pwd | grep -c busybox; { echo group; } | cat"),
        new("traps", "trap 'echo bye' EXIT; trap 'echo usr1' USR1; kill -USR1 $$; (trap 'echo sub; exit 4' TERM; kill -TERM $(sh -c 'echo $PPID'); echo not); echo $?; trap '' INT; kill -INT $$; echo alive"),
        new("here_documents", "name=world; cat <<END; cat <<'END'; cat <<-END\nhello $name $((6*7)) $(echo sub)\nEND\nraw $name\nEND\n\ttabbed\n\tEND"),
        new("arithmetic", "echo $((1+2*3)) $((7/2)) $((-7%3)) $((1<<20)) $((0x1f)) $((010)) $((5>3&&2<1)) $((~0)); i=0; while [ $i -lt 5 ]; do i=$((i+1)); echo -n $i; done; echo; echo $((x=5, x+=2)) $x; echo $((9223372036854775807+1))"),
        new("functions", "f() { local a=$1; if [ $a -le 1 ]; then echo 1; else echo $(( a * $(f $((a-1))) )); fi; }; f 10; g() { return 7; }; g; echo $?; h() { echo \"$# $1 ${2:-none}\"; shift; echo \"$@\"; }; h 'a b' c d"),
        new("expansion", "a=path/to/file.tar.gz; echo ${a##*/} ${a%.*} ${a%%.*} ${#a} ${a#path/} ${b:-def} ${b:=set} $b ${a:+yes} ${a:5:2} ${a/to/from}; set -- 1 2 3; echo $# \"$*\" $@; IFS=:; set -- a:b; echo $1; v='x:y'; for p in $v; do echo $p; done"),
        new("control", "for i in 1 2 3 4 5; do case $i in 2) continue;; 4) break;; [13]) echo odd $i;; *) echo other;; esac; done; n=0; until [ $n = 3 ]; do n=$((n+1)); done; echo $n; if false; then echo no; elif true; then echo yes; fi; ! false && echo negated; true || echo no"),
        new("globbing", "touch a1 a2 b1 .hidden; mkdir d; touch d/x; echo *; echo a?; echo [ab]1; echo */; echo .h*; echo nomatch*; echo \"*\"; ls -a"),
        new("background", "(echo first; exit 5) & wait $!; echo $?; sleep 0.01 & p=$!; wait; kill -0 $p 2>/dev/null || echo gone; for i in 1 2 3; do (exit $i) & done; wait; echo done; sleep 100 & kill $!; wait $! 2>/dev/null; echo $?"),
        new("exit_statuses", "sh -c 'exit 42'; echo $?; sh -c 'kill -9 $$'; echo $?; sh -c 'kill -TERM $$'; echo $?; nosuchcommand 2>/dev/null; echo $?; /etc 2>/dev/null; echo $?; false | true; echo $?; set -o pipefail; false | true; echo $?; exit 17"),
        new("death_by_signal", "echo before; kill -KILL $$; echo after"),
        new("death_by_abort", "ulimit -c 0; echo before; kill -ABRT $$"),
        new("set_e", "set -e; true; echo one; false; echo two"),
        new("set_u_and_x", "set -x; a=1; echo $a; set +x; set -u; echo $undefined; echo not reached"),
        new("reading", "read a; read b; echo \"$b / $a\"; read c || echo end of input; echo 'x y z' | { read p q; echo \"$q $p\"; }; printf 'a\\\\b\\n' | { read -r l; echo \"$l\"; }"),
        new("printf_and_echo", "printf '%5d|%-5s|%05.2f|%x|%c|%%\\n' 42 ab 3.14159 255 xyz; printf '%s\\n' a b c; echo -e 'tab\\there\\x41'; echo -n no newline; printf '\\101\\n'"),
        new("getopts", "f() { OPTIND=1; while getopts ab:c o; do echo \"$o ${OPTARG:-}\"; done; shift $((OPTIND-1)); echo rest $*; }; f -a -b val -c x y; f -z 2>&1"),
        new("command_substitution_large", "x=$(seq 1 5000); echo ${#x}; echo \"$x\" | tail -n 1; y=`echo \\`echo nested\\``; echo $y"),
        new("many_processes", "i=0; while [ $i -lt 40 ]; do i=$((i+1)); /bin/true 2>/dev/null; (exit 0); echo $i | cat >/dev/null; done; echo $i"),
        new("scripts_and_hash_bang", "printf 'echo script $0 $1\\n' >s; sh s arg; . ./s; printf 'x=5\\n' >v; . ./v; echo $x; eval 'echo $'x; alias q='echo aliased'; unset x; echo ${x-unset}; type cd; command -v echo"),
        new("umask_and_modes", "umask 027; touch f; mkdir d; stat -c '%a %F %s' f d; chmod 4755 f; stat -c %a f; chmod u-s,g+w f; stat -c %a f; test -x f && echo x; [ -d d -a ! -f d ] && echo dir; umask"),
        new("signals_to_groups", "sh -c 'trap \"echo got; exit 3\" TERM; kill -TERM $$; while :; do :; done'; echo $?; sh -c 'sleep 50 & kill -HUP $!; wait $! 2>/dev/null; echo $?'"),
        new("fifo", "mkfifo p; (echo through >p) & cat p; wait; (cat <p >out) & echo again >p; wait; cat out; ls -l p | cut -c1-10"),
        new("descriptors", "exec 5>f; echo five >&5; exec 5>&-; cat f; echo dup 6>g 1>&6; cat g; readlink /proc/self/fd/9 9<f | sed 's,.*/,,'"),
        new("process_table", "cat /proc/self/comm; tr '\\0' ' ' </proc/self/cmdline; echo; head -n 1 /proc/self/status; grep -c . /proc/self/maps >/dev/null && echo maps; test -r /proc/cpuinfo && echo cpuinfo; readlink /proc/self/exe | sed 's,.*/,,'"),
    ];

    public static IReadOnlyList<Script> Applets { get; } =
    [
        new("awk", "seq 1 100 | awk '{s+=$1; if ($1%2) o++} END {print s, o, s/o; printf \"%.10f %e %g\\n\", 1/3, 1e10/3, 1e-5}'; echo 'a:b:c' | awk -F: '{print $NF, NF; gsub(/b/,\"X\"); print toupper($0), length($0), substr($0,2,3)}'; awk 'BEGIN{x[\"a\"]=1; for(k in x) print k; print sin(1), exp(1), log(10), sqrt(2), int(3.9)}'"),
        new("sed", "printf 'one\\ntwo\\nthree\\n' >f; sed 's/o/0/g; 2d; $a\\end' f; sed -n '/tw/,$p' f; sed -i 's/t\\(.\\)/\\1t/' f; cat f; echo abc | sed -E 's/(a)(b)/\\2\\1/; y/c/C/'; sed = f | sed 'N;s/\\n/ /'"),
        new("grep", "printf 'apple\\nBanana\\ncherry\\n' >f; grep -n an f; grep -ic b f; grep -v a f; grep -E '^(a|c)' f; grep -q zzz f; echo $?; grep -o 'r.' f; egrep -l apple f; fgrep . f; echo $?"),
        new("sort_uniq", "printf '3\\n10\\n1\\n3\\n2\\n' >f; sort f; sort -n f; sort -rnu f; sort f | uniq -c; sort -k2,2 -t: <<E\na:z\nb:y\nE\nuniq -d <<E\nx\nx\ny\nE"),
        new("text_tools", "seq 1 20 >f; head -n 3 f; tail -n 2 f; tail -c 5 f; cut -c1 f | tr -d '\\n'; echo; paste f f | tail -n 1; wc f; nl f | head -n 2; rev <<E\nabc\nE\ntac f | head -n 1; fold -w 5 <<E\nabcdefghijkl\nE\nexpand <<E\na\tb\nE\nunexpand -a <<E\na       b\nE\ncomm -12 f f | wc -l; split -l 7 f s; ls s*"),
        new("joins_and_columns", "printf '1 a\\n2 b\\n' >x; printf '1 A\\n2 B\\n' >y; paste -d, x y; diff x y; echo $?; cmp x y; echo $?; diff x x; echo same $?; diff -u x y | tail -n +3"),
        new("checksums", "seq 1 1000 >f; md5sum f; sha1sum f; sha256sum f; sha512sum f; sha3sum f; cksum f; crc32 f 2>/dev/null; sum f; sha256sum f >c; sha256sum -c c"),
        new("encodings", "echo 'Hello, World' | base64; echo SGVsbG8= | base64 -d; echo; echo abc | od -c; echo abc | hexdump -C; echo abc | xxd; printf 'x' | uuencode n; echo abc | base32; printf '\\0\\1' | od -An -tx1; strings -n 3 <<E\nabc\nE"),
        new("compression", "seq 1 3000 >f; gzip -c f >f.gz; gunzip -c f.gz | cmp - f && echo gz; bzip2 -c f >f.bz2; bunzip2 -c f.bz2 | cmp - f && echo bz2; gzip f; zcat f.gz | tail -n 1; lzop -c f.gz >f.lzo 2>/dev/null; ls -l f.gz | awk '{print ($5 > 1000)}'"),
        new("archives", "mkdir -p d/e; echo 1 >d/a; echo 2 >d/e/b; ln -s a d/l; tar cf t.tar d; tar tf t.tar | sort; rm -r d; tar xf t.tar; find d | sort; cat d/l; tar czf t.tgz d; tar tzf t.tgz | wc -l; find d | cpio -o -H newc 2>/dev/null | cpio -t 2>/dev/null | sort"),
        new("copying", "mkdir a; echo x >a/f; ln -s f a/l; cp -r a b; ls -R b; cp -a a c; readlink c/l; mv b/f b/g; ls b; rm -rf a b; ls; cp nothere x 2>&1; echo $?; install -m 640 c/f i; stat -c %a i; ln c/f h; stat -c %h h"),
        new("find_xargs", "mkdir -p d/e/f; touch d/1.c d/e/2.c d/e/f/3.h; find d -name '*.c' | sort; find d -type d | sort; find d -type f -exec echo {} \\; | sort; find d -name '*.h' | xargs -n1 basename; find d -type f -size 0 | wc -l; echo a b c | xargs -n 2 echo -; find d -depth -delete; ls; find . -maxdepth 1 -newer / | wc -l >/dev/null"),
        new("dd_and_truncate", "dd if=/dev/zero of=f bs=1k count=10 2>/dev/null; wc -c <f; echo hello | dd of=f conv=notrunc bs=1 seek=100 2>/dev/null; dd if=f bs=1 skip=100 count=5 2>/dev/null; echo; truncate -s 5000 f; stat -c %s f; fallocate -l 8000 f; stat -c %s f; tail -c 3 f | od -An -tx1"),
        new("names", "basename /a/b.c .c; dirname /a/b; realpath . | grep -c busybox; pwd -P | grep -c busybox; readlink -f ./x/../y | sed 's,.*/,,'; mktemp -u XXXXXX | wc -c; which nosuch; echo $?; ln -s t l; readlink l"),
        new("directories", "mkdir -p a/b/c; mkdir a 2>&1; rmdir a/b/c; rmdir a 2>&1; rmdir -p a/b; ls; mkdir d; cd d; mkdir ../d2; cd ../d2; pwd | sed 's,.*/,,'; cd - >/dev/null; pwd | sed 's,.*/,,'; du -s . | cut -f2; ls -d /; test -e /nonexistent; echo $?"),
        new("dates", "date -u -d @0; date -u -d @1700000000 '+%Y-%m-%d %H:%M:%S %j %a'; TZ=UTC date -d '2024-02-29 12:00' +%s; touch -d '2020-01-02 03:04:05' f; stat -c %Y f; date -r f +%F; cal 2 2024"),
        new("numbers", "seq 5 -2 1; seq -w 8 11; seq 0.5 0.5 2; expr 6 \\* 7; expr abc : 'a\\(.\\)'; expr length hello; factor 97 360 1000003; echo '2^64; scale=20; 1/7' | bc; echo '3 4 + p' | dc; shuf -i 1-5 | sort; nproc >/dev/null && echo ok"),
        new("system_identity", "id -un >/dev/null && echo named; whoami >/dev/null && echo me; uname -s -m; hostname >/dev/null && echo host; tty; logname >/dev/null 2>&1; arch; env | sort; printenv HOME; true; false; echo $?; sync; echo synced"),
        new("timing", "time true 2>/dev/null; usleep 1000; echo slept; timeout 0.1 sleep 10; echo $?; timeout 5 echo quick; sleep 0; nice -n 1 echo nicely; nohup echo hup 2>/dev/null; setsid echo session | cat"),
        new("tee_and_yes", "echo t | tee a b | cat; cat a b; yes | head -n 3; yes x | head -c 10; echo; echo end | tee -a a >/dev/null; cat a; cat - <a | cat -n; cat -A <<E\na\tb\nE\ntest -t 0; echo $?"),
        new("patching", "printf 'a\\nb\\nc\\n' >x; printf 'a\\nB\\nc\\n' >y; diff -u x y >p; patch x p; cmp x y && echo patched; ed -s x <<E\n2d\nw\nq\nE\ncat x; vi --help 2>&1 | head -n 1 | cut -c1-7"),
        new("find_in_proc", "ps -o comm | head -n 1; pidof nosuchprogram; echo $?; kill -l 15; kill -l | head -n 1 >/dev/null; pgrep nosuchprogram; echo $?; free >/dev/null && echo free; uptime >/dev/null && echo up; df . >/dev/null && echo df; mount >/dev/null && echo mount"),
        new("crypt_and_random", "head -c 16 /dev/urandom | wc -c; mkpasswd -m md5 -S abcdefgh secret 2>/dev/null; cryptpw -m des -S ab secret 2>/dev/null; od -An -N4 /dev/zero; head -c 3 /dev/zero | od -An -tx1; cat /dev/null; echo x >/dev/null; echo full >/dev/full; echo $?"),
        new("locks_and_links", "touch f; flock f echo locked; ln f g; stat -c %h f; unlink g; stat -c %h f; link f h; ls -i f h | awk '{print $1}' | uniq | wc -l; readlink f; echo $?; ln -sf f s; ln -sf h s; readlink s; chmod 000 f; stat -c %A f; test -L s && echo link"),
    ];
}
