#!/usr/bin/env bash
# Makes crates/pagepool-cli/assets/default.pcap, the embedded default input of `pagepool forward`.
#
# Two network namespaces, joined by a veth pair, in which real programs talk: dnsmasq and dig, python3's http.server
# and curl, ping, socat. tcpdump listens on the client's end. Nothing leaves the namespaces, and they are removed on
# every exit. Not bit-for-bit repeatable: ports, query ids, ACK patterns and timestamps are those of the run.
#
# Usage (as root): scripts/make-capture.sh [OUTPUT.pcap]
# With an OUTPUT the README's table is left alone.
set -euo pipefail
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin

die() {
    echo "make-capture: $*" >&2
    exit 1
}

[ "$(id -u)" -eq 0 ] || die "must run as root, because it creates network namespaces; nothing was changed."

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
assets=$(dirname "$here")/crates/pagepool-cli/assets
out=${1:-$assets/default.pcap}
readme=
[ $# -ge 1 ] || readme=$assets/README.md

# --- what it needs, by command and Debian package
missing=()
while read -r cmd pkg; do
    command -v "$cmd" >/dev/null || missing+=("$pkg")
done <<'LIST'
ip iproute2
ss iproute2
ethtool ethtool
tcpdump tcpdump
dnsmasq dnsmasq-base
dig bind9-dnsutils
getent libc-bin
ping iputils-ping
curl curl
socat socat
python3 python3
LIST
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || die "these Debian packages (or their like) are missing: ${missing[*]}."
    echo "make-capture: installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi

# --- names; the process id keeps two runs apart
client=ppcap-client-$$
server=ppcap-server-$$
client_ip=10.77.0.2
server_ip=10.77.0.1
absent_ip=10.77.0.99 # nobody: ARP requests without an answer
bulk_port=5001       # known to pad-capture.py
work=$(mktemp -d)
pids=()

cleanup() {
    local pid ns
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    for ns in "$client" "$server"; do
        ip netns del "$ns" 2>/dev/null || true # takes its end of the veth pair along
        rm -rf "/etc/netns/$ns"
    done
    rmdir /etc/netns 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

on() { # NAMESPACE COMMAND...
    ip netns exec "$@"
}

# In the background. `ip netns exec` becomes the program, so the job's id is the program's own; it is left in $pid.
start() { # NAMESPACE COMMAND...
    ip netns exec "$@" &
    pid=$!
    pids+=("$pid")
}

wait_for() { # WHAT COMMAND...: up to 10 s
    local what=$1 i
    shift
    for ((i = 0; i < 100; i++)); do
        if "$@"; then return 0; fi
        sleep 0.1
    done
    die "gave up waiting for $what."
}

listens() { # t|u PORT
    on "$server" ss -Hnl"$1" | grep -q "$server_ip:$2 "
}

# --- two namespaces, one wire
for ns in "$client" "$server"; do
    ip netns add "$ns"
    # Every getaddrinfo() in there asks our own server; the search list keeps this machine's domain out.
    mkdir -p "/etc/netns/$ns"
    printf 'search lab.test\nnameserver %s\n' "$server_ip" >"/etc/netns/$ns/resolv.conf"
    # shellcheck disable=SC2016 # expanded inside
    on "$ns" sh -c 'f=/proc/sys/net/ipv6/conf; [ ! -d $f ] || for i in all default; do echo 1 >$f/$i/disable_ipv6; done'
    on "$ns" ip link set lo up
done
ip link add name wire netns "$client" address 02:00:0a:4d:00:02 type veth \
    peer name wire netns "$server" address 02:00:0a:4d:00:01
on "$client" ip addr add "$client_ip/24" dev wire
on "$server" ip addr add "$server_ip/24" dev wire
for ns in "$client" "$server"; do
    # Frames as a wire carries them: no super-packets, and checksums filled in.
    on "$ns" ethtool -K wire tso off gso off gro off tx off rx off >/dev/null
    on "$ns" ip link set wire up
done

# --- text, written here for the purpose: sentences from a small grammar, the same on every run
mkdir "$work/www"
python3 - "$work" <<'PY'
import os, random, sys

rng = random.Random(1)
what = """page|pool|ring|packet|frame|buffer|cache|driver|queue|consumer|producer|counter|fragment|header|allocator|batch
reference|descriptor|bucket|list""".replace("\n", "|").split("|")
how = "cold|warm|small|large|empty|full|shared|local|recycled|fresh|pinned|partial|busy|idle|stale|plain".split("|")
does = """returns|takes|keeps|counts|fills|drains|splits|holds|waits for|hands over|forgets|refuses|touches|measures
looks at|walks past""".replace("\n", "|").split("|")
when = """before noon|after the last batch|without a lock|on the same core|once in a while|in the fast path|at the end of
 the poll|when memory is short|for the next reader|as long as it lasts|under load|in the order of arrival
""".replace("of\n the", "of the").strip().replace("\n", "|").split("|")
join = ["and", "while", "because", "so", "but", "until"]

def clause():
    return f"the {rng.choice(how)} {rng.choice(what)} {rng.choice(does)} the {rng.choice(how)} {rng.choice(what)}"

def sentence():
    s = clause()
    if rng.random() < 0.5:
        s += f" {rng.choice(join)} {clause()}"
    if rng.random() < 0.6:
        s += f" {rng.choice(when)}"
    return s[0].upper() + s[1:] + "."

def document(size):
    parts, length, chapter = [], 0, 0
    while length < size:
        if len(parts) % 12 == 0:
            chapter += 1
            p = f"Chapter {chapter}. On the {rng.choice(how)} {rng.choice(what)}\n\n"
        else:
            p = " ".join(sentence() for _ in range(rng.randint(3, 8))) + "\n\n"
        parts.append(p)
        length += len(p)
    return "".join(parts)[:size].encode()

def write(name, size):
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(document(size))

write("book.txt", 880_000)
write("form.txt", 2_500)
for name, size in [("note", 40), ("page", 700), ("letter", 1_400), ("article", 5_000), ("chapter", 24_000)]:
    write(f"www/{name}.txt", size)
PY

# --- servers
start "$server" dnsmasq --no-daemon --conf-file=/dev/null --pid-file= --user=root --no-hosts --no-resolv \
    --listen-address="$server_ip" --bind-interfaces --local=/test/ --local=/77.10.in-addr.arpa/ \
    --host-record="gw.lab.test,$server_ip" --host-record="client.lab.test,$client_ip" \
    --host-record="www.lab.test,$server_ip,fd00:77::1" --host-record="mail.lab.test,10.77.0.25,fd00:77::25" \
    --host-record="db.lab.test,10.77.0.54" --cname=ftp.lab.test,www.lab.test \
    --mx-host=lab.test,mail.lab.test,10 --srv-host=_http._tcp.lab.test,www.lab.test,80 \
    --txt-record="lab.test,v=spf1 mx -all" \
    --txt-record="about.lab.test,$(head -c 240 "$work/form.txt" | tr '\n,' '  ')" \
    >"$work/dnsmasq.log" 2>&1
wait_for dnsmasq listens u 53
start "$server" python3 -m http.server --bind "$server_ip" --directory "$work/www" 80 >"$work/http.log" 2>&1
wait_for http.server listens t 80
start "$server" socat -u "TCP-LISTEN:$bulk_port,bind=$server_ip,reuseaddr" "CREATE:$work/received.txt"
sink=$pid
wait_for socat listens t "$bulk_port"

# --- the listener
start "$client" tcpdump -i wire -n -p -s 65535 -B 16384 -U -Z root --time-stamp-precision=micro -w "$work/raw.pcap" \
    2>"$work/tcpdump.log"
dump=$pid
wait_for tcpdump grep -q 'listening on' "$work/tcpdump.log"

forget_neighbours() { # so that the next packet needs ARP again
    on "$client" ip neigh flush dev wire
    on "$server" ip neigh flush dev wire
}

# --- the talk. What must fail (NXDOMAIN, 404, closed ports) is allowed to; everything else stops the script.
echo "make-capture: ARP and ICMP"
for _ in {1..12}; do
    forget_neighbours
    on "$client" ping -q -n -c 1 "$server_ip" >/dev/null
    on "$server" ping -q -n -c 1 "$client_ip" >/dev/null
done
if on "$client" ping -q -n -c 2 -i 0.2 -w 2 "$absent_ip" >/dev/null; then die "$absent_ip must not answer."; fi
for size in 0 8 18 56 100 200 400 700 1000 1200 1400 1472; do
    on "$client" ping -q -n -M "do" -i 0.01 -c 16 -s "$size" "$server_ip" >/dev/null
done

echo "make-capture: DNS"
for _ in {1..13}; do
    for name in gw www mail db client ftp printer nobody; do
        printf '%s.lab.test A\n%s.lab.test AAAA\n' "$name" "$name"
    done
    printf '%s\n' 'lab.test MX' 'lab.test TXT' 'about.lab.test TXT' '_http._tcp.lab.test SRV' \
        '1.0.77.10.in-addr.arpa PTR' '2.0.77.10.in-addr.arpa PTR' '200.0.77.10.in-addr.arpa PTR'
done >"$work/queries"
on "$client" dig -r "@$server_ip" +tries=2 -f "$work/queries" >"$work/dig.log"
for name in NOERROR NXDOMAIN; do
    grep -q "status: $name" "$work/dig.log" || die "dig saw no $name."
done
on "$client" dig -r "@$server_ip" +tcp about.lab.test TXT mail.lab.test AAAA >/dev/null
for name in gw www mail db printer; do
    on "$client" getent ahosts "$name.lab.test" >/dev/null || [ "$name" = printer ]
    on "$client" getent hosts "$name" >/dev/null || [ "$name" = printer ]
done

echo "make-capture: closed ports"
on "$client" dig -r "@$server_ip" -p 5300 +tries=1 +time=1 gw.lab.test A >/dev/null || true
on "$client" curl -q -s --noproxy '*' --max-time 2 "http://$server_ip:81/" >/dev/null || true

echo "make-capture: HTTP"
get() { # EXPECTED-STATUS PATH [CURL-OPTION...]
    local expected=$1 path=$2 got
    shift 2
    got=$(on "$client" curl -q -s -S --noproxy '*' --max-time 10 -o /dev/null -w '%{http_code}' "$@" \
        "http://www.lab.test/$path")
    [ "$got" = "$expected" ] || die "HTTP: /$path answered $got instead of $expected."
}
forget_neighbours
for _ in {1..8}; do
    for name in note page letter article; do
        get 200 "$name.txt"
    done
done
get 200 chapter.txt
get 200 ''
get 200 article.txt --head
get 404 missing.txt
get 501 form -X POST --data-binary "@$work/form.txt"

echo "make-capture: bulk TCP"
on "$client" socat -u "OPEN:$work/book.txt,rdonly" "TCP:$server_ip:$bulk_port"
wait "$sink"
cmp -s "$work/book.txt" "$work/received.txt" || die "the bulk transfer arrived damaged."
on "$client" ping -q -n -c 3 -i 0.01 "$server_ip" >/dev/null

# --- stop, check, put in place
sleep 1
kill "$dump" # TERM: a background job of a script ignores INT
wait "$dump"
grep -q '^0 packets dropped by kernel' "$work/tcpdump.log" || die "tcpdump lost packets: $(tail -n 3 "$work/tcpdump.log")"
python3 "$here/pad-capture.py" pad "$work/raw.pcap" "$work/padded.pcap"
python3 "$here/pad-capture.py" check "$work/padded.pcap"
mkdir -p "$(dirname "$out")"
install -m 644 "$work/padded.pcap" "$out"
if [ -n "$readme" ]; then
    python3 "$here/pad-capture.py" readme "$out" "$readme"
fi
echo "make-capture: wrote $out"
