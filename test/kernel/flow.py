"""One connection of an agent, held open. Each line on standard input is one act; each outcome is said.

send       writes, and says whether the socket took it
chat <ms>  writes every so often until the connection ends
wait       reads until the other side ends it, and says how
"""
import json, socket, sys, threading, time

host, port, first = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()
kind = socket.SOCK_DGRAM if len(sys.argv) > 4 and sys.argv[4] == "udp" else socket.SOCK_STREAM


def say(**what):
    sys.stdout.write(json.dumps(what | {"ns": time.monotonic_ns()}) + "\n")
    sys.stdout.flush()


s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
s.settimeout(20)
s.connect((host, port))
s.send(first)
try:
    # Nobody answers a datagram here: that it went out is all that is known.
    say(connected=s.recv(100).decode("latin1") if kind == socket.SOCK_STREAM else "sent")
except OSError as error:
    say(failed=type(error).__name__)


def wait():
    try:
        while s.recv(4096):
            pass
        say(ended="eof")
    except OSError as error:
        say(ended=type(error).__name__)


def chat(ms):
    try:
        while True:
            s.send(b"x")
            time.sleep(ms / 1000)
    except OSError as error:
        say(chat=type(error).__name__)


for line in sys.stdin:
    word, *rest = line.split()
    if word == "send":
        try:
            s.send(b"ALTRACE-LATER")
            say(sent=True)
        except OSError as error:
            say(sent=False, error=type(error).__name__)
    if word == "chat":
        threading.Thread(target=chat, args=(float(rest[0]),), daemon=True).start()
    if word == "wait":
        threading.Thread(target=wait, daemon=True).start()
