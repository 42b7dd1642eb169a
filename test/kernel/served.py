"""Says of one connection after another how long it took until its far side had answered, until standard input ends.

Each sends what a TLS client says first.
"""
import json, os, socket, ssl, sys, threading, time

host, name = sys.argv[1:3]
over = threading.Event()
ALERT = 0x15


def first_words():
    said = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), said, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return said.read()


def say(**what):
    # A line at once: printed in pieces, those of two threads would be mixed.
    os.write(1, (json.dumps(what) + "\n").encode())


def opened():
    """A connection that was answered, by anybody but a node that refuses."""
    wire = socket.socket()
    wire.settimeout(20)
    wire.connect((host, 443))
    wire.sendall(HELLO)
    answer = wire.recv(4096)
    if not answer or answer[0] == ALERT:
        wire.close()
        raise OSError("refused" if answer else "closed")
    return wire


def anew():
    while not over.is_set():
        began = time.monotonic()
        try:
            with opened():
                say(served=round((time.monotonic() - began) * 1000, 1))
        except OSError as error:
            say(failed=str(error), after=round((time.monotonic() - began) * 1000, 1))
        over.wait(0.01)


HELLO = first_words()
threads = [threading.Thread(target=anew) for _ in range(2)]
for one in threads:
    one.start()
sys.stdin.read()
over.set()
