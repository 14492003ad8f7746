#!/usr/bin/env python3
"""The second half of make-capture.sh; Python's standard library only.

  pad-capture.py pad RAW OUT          pad short frames to 60 bytes with zeros, drop what is longer than 1514, sort by time
  pad-capture.py check FILE           verify that FILE is what the default capture promises, print its table
  pad-capture.py readme FILE README   check, then replace README's table by FILE's
"""

import hashlib
import statistics
import struct
import sys

MIN_FRAME, MAX_FRAME = 60, 1514  # an Ethernet frame, without its FCS
MIN_PACKETS, MAX_FILE = 2000, 1_500_000
SNAPLEN = 65535
FILE_HEADER = struct.Struct("<IHHiIII")
RECORD_HEADER = struct.Struct("<IIII")
MAGIC_MICROSECONDS, LINKTYPE_ETHERNET = 0xA1B2C3D4, 1
BULK_PORT = 5001
PROTOCOLS = ["ARP", "ICMP", "DNS", "HTTP", "bulk TCP", "other"]
MARKS = ("<!-- table: written by scripts/pad-capture.py -->", "<!-- end of table -->")


def need(condition, message):
    if not condition:
        sys.exit(f"pad-capture: {message}")


def read(path):
    """A list of (seconds, microseconds, frame)."""
    with open(path, "rb") as f:
        data = f.read()
    need(len(data) >= FILE_HEADER.size, f"{path}: too short for a pcap header")
    magic, major, minor, _, _, _, link = FILE_HEADER.unpack_from(data)
    need(magic == MAGIC_MICROSECONDS, f"{path}: not a little-endian microsecond pcap")
    need((major, minor) == (2, 4), f"{path}: version {major}.{minor}, not 2.4")
    need(link == LINKTYPE_ETHERNET, f"{path}: link type {link}, not Ethernet")
    packets, at = [], FILE_HEADER.size
    while at < len(data):
        need(at + RECORD_HEADER.size <= len(data), f"{path}: ends inside a record header")
        sec, usec, incl, orig = RECORD_HEADER.unpack_from(data, at)
        at += RECORD_HEADER.size
        number = len(packets) + 1
        need(incl == orig, f"{path}: packet {number} is cut ({incl} of {orig} bytes)")
        need(usec < 1_000_000, f"{path}: packet {number} has {usec} microseconds")
        need(at + incl <= len(data), f"{path}: ends inside packet {number}")
        packets.append((sec, usec, data[at : at + incl]))
        at += incl
    return packets


def pad(source, target):
    packets = read(source)
    kept = [p for p in packets if len(p[2]) <= MAX_FRAME]
    short = sum(len(p[2]) < MIN_FRAME for p in kept)
    # The two directions are stamped on different cores and may swap by a microsecond; the sort is stable.
    kept.sort(key=lambda p: p[:2])
    with open(target, "wb") as f:
        f.write(FILE_HEADER.pack(MAGIC_MICROSECONDS, 2, 4, 0, 0, SNAPLEN, LINKTYPE_ETHERNET))
        for sec, usec, frame in kept:
            frame = frame.ljust(MIN_FRAME, b"\0")
            f.write(RECORD_HEADER.pack(sec, usec, len(frame), len(frame)))
            f.write(frame)
    print(f"pad-capture: {len(kept)} packets, {short} of them padded, {len(packets) - len(kept)} too long and dropped")


def checksum_holds(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF


def classify(number, frame):
    """The row of the table a frame counts in. Every checksum must hold."""
    need(not (frame[0] & 1 and frame[:6] != b"\xff" * 6), f"packet {number}: multicast destination")
    need(frame[6] & 3 == 2, f"packet {number}: source address not locally administered")
    (ethertype,) = struct.unpack_from(">H", frame, 12)
    if ethertype == 0x0806:
        return "ARP"
    need(ethertype == 0x0800, f"packet {number}: EtherType {ethertype:#06x}")
    ip = frame[14:]
    header_len, (total_len,) = (ip[0] & 15) * 4, struct.unpack_from(">H", ip, 2)
    need(ip[0] >> 4 == 4 and header_len >= 20, f"packet {number}: not an IPv4 header")
    need(header_len <= total_len <= len(ip), f"packet {number}: IPv4 length {total_len}")
    need(not any(ip[total_len:]), f"packet {number}: padding is not zero")
    need(checksum_holds(ip[:header_len]), f"packet {number}: IPv4 checksum")
    need(ip[12] == 10 and ip[16] == 10, f"packet {number}: address outside 10.0.0.0/8")
    need(not struct.unpack_from(">H", ip, 6)[0] & 0x3FFF, f"packet {number}: fragment")
    protocol, body = ip[9], ip[header_len:total_len]
    pseudo = ip[12:20] + struct.pack(">BBH", 0, protocol, len(body))
    if protocol == 1:
        need(checksum_holds(body), f"packet {number}: ICMP checksum")
        return "ICMP"
    need(protocol in (6, 17), f"packet {number}: IP protocol {protocol}")
    need(checksum_holds(pseudo + body), f"packet {number}: {'TCP' if protocol == 6 else 'UDP'} checksum")
    ports = struct.unpack_from(">HH", body)
    if 53 in ports:
        return "DNS"
    if protocol == 6 and 80 in ports:
        return "HTTP"
    if protocol == 6 and BULK_PORT in ports:
        return "bulk TCP"
    return "other"


def row(name, sizes):
    median = round(statistics.median(sizes))
    return f"| {name} | {len(sizes)} | {min(sizes)} | {median} | {max(sizes)} | {sum(sizes)} |"


def check(path):
    """The Markdown table, if the file keeps every promise."""
    packets = read(path)
    with open(path, "rb") as f:
        content = f.read()
    need(len(packets) >= MIN_PACKETS, f"{path}: only {len(packets)} packets")
    need(len(content) < MAX_FILE, f"{path}: {len(content)} bytes")
    groups = {}
    for number, (_, _, frame) in enumerate(packets, 1):
        need(MIN_FRAME <= len(frame) <= MAX_FRAME, f"packet {number}: {len(frame)} bytes")
        groups.setdefault(classify(number, frame), []).append(len(frame))
    times = [p[:2] for p in packets]
    need(times == sorted(times), f"{path}: timestamps go backwards")
    for name in PROTOCOLS[:-1]:
        need(name in groups, f"{path}: no {name}")
    sizes = [len(p[2]) for p in packets]
    need(min(sizes) == MIN_FRAME and max(sizes) == MAX_FRAME, f"{path}: sizes {min(sizes)} to {max(sizes)}")
    seconds = times[-1][0] - times[0][0] + (times[-1][1] - times[0][1]) / 1e6
    lines = ["| Protocol | Packets | Min size | Median size | Max size | Frame bytes |", "|---|--:|--:|--:|--:|--:|"]
    lines += [row(name, groups[name]) for name in PROTOCOLS if name in groups]
    lines += [row("**all**", sizes), ""]
    lines += ["| Frame size | Packets |", "|---|--:|"]
    low = MIN_FRAME
    for name, high in [("60", 60), ("61–127", 127), ("128–511", 511), ("512–1023", 1023), ("1024–1513", 1513), ("1514", 1514)]:
        lines.append(f"| {name} | {sum(low <= s <= high for s in sizes)} |")
        low = high + 1
    lines += ["", f"- File: {len(content)} bytes, covering {seconds:.1f} s"]
    lines += [f"- sha256: `{hashlib.sha256(content).hexdigest()}`"]
    return "\n".join(lines)


def readme(path, target):
    table = check(path)
    with open(target, encoding="utf-8") as f:
        text = f.read()
    need(all(text.count(mark) == 1 for mark in MARKS), f"{target}: the marks around the table are missing")
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    with open(target, "w", encoding="utf-8") as f:
        f.write(f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}")


def main(args):
    if len(args) == 3 and args[0] == "pad":
        pad(args[1], args[2])
    elif len(args) == 2 and args[0] == "check":
        print(check(args[1]))
    elif len(args) == 3 and args[0] == "readme":
        readme(args[1], args[2])
    else:
        sys.exit(__doc__.strip())


if __name__ == "__main__":
    main(sys.argv[1:])
