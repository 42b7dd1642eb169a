"""What arrives on the far side: every frame on a link, and what services of a machine accept.

Prints one line of JSON for each. Nothing is judged here; the tests say what must not be among it.
"""
import json, socket, struct, sys, threading

args = json.loads(sys.argv[1])
lock = threading.Lock()


def say(**what):
    with lock:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


def read(frame):
    kind = struct.unpack("!H", frame[12:14])[0]
    if kind == 0x0800:
        p = frame[14:]
        at = (p[0] & 15) * 4
        return dict(src=socket.inet_ntoa(p[12:16]), dst=socket.inet_ntoa(p[16:20]), protocol=p[9], text=p[at:at + 80].hex())
    if kind == 0x86DD:
        p = frame[14:]
        pton = lambda b: socket.inet_ntop(socket.AF_INET6, b)
        return dict(src=pton(p[8:24]), dst=pton(p[24:40]), protocol=p[6], text=p[40:120].hex())
    # Who asks for a neighbour, and whether it is told (2) or asked (1).
    if kind == 0x0806:
        return dict(ethertype=kind, src=socket.inet_ntoa(frame[28:32]), text=frame[20:22].hex())
    return dict(ethertype=kind, text=frame[14:94].hex())


def sniff(link):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 20)
    s.bind((link, 3))
    say(ready=link)
    while True:
        frame, where = s.recvfrom(65536)
        if where[2] == socket.PACKET_OUTGOING:
            continue
        seen = read(frame)
        # Neighbours are asked for on every link, and routers answer them; nobody has an address of this network.
        if seen.get("ethertype") == 0x0806 and not seen["src"].startswith("203.0.113."):
            continue
        if (seen.get("protocol") == 58 and seen["text"][:2] in ("85", "86", "87", "88", "8f")):
            continue
        # Multicast listener reports come behind a hop-by-hop header, from the kernel itself.
        if seen.get("protocol") == 0 and seen["dst"].startswith("ff02::16"):
            continue
        say(link=link, **seen)


def serve(family, kind, port):
    s = socket.socket(family, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind(("", port))
    say(ready=port)
    if kind == socket.SOCK_DGRAM:
        while True:
            data, peer = s.recvfrom(2048)
            say(port=port, src=peer[0], udp=True)
    s.listen(128)
    while True:
        peer, address = s.accept()
        say(port=port, src=address[0])
        threading.Thread(target=hold, args=(peer, port), daemon=True).start()


def hold(peer, port):
    try:
        while data := peer.recv(4096):
            say(port=port, bytes=len(data))
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
    except OSError as error:
        say(port=port, ended=type(error).__name__)


waiting = [threading.Thread(target=sniff, args=(link,), daemon=True) for link in args.get("links", [])]
for port in args.get("tcp", []):
    for family in (socket.AF_INET, socket.AF_INET6):
        waiting.append(threading.Thread(target=serve, args=(family, socket.SOCK_STREAM, port), daemon=True))
for port in args.get("udp", []):
    waiting.append(threading.Thread(target=serve, args=(socket.AF_INET, socket.SOCK_DGRAM, port), daemon=True))
for one in waiting:
    one.start()
sys.stdin.read()
