"""Connects again and again until standard input ends, and says of each whether it was served.

A connection that ends after the handshake was taken over by a proxy that died; one that is refused in
the handshake is what must not be.
"""
import json, select, socket, sys, threading

host = sys.argv[1]
over = threading.Event()


def clients():
    while not over.is_set():
        s = socket.socket()
        s.settimeout(20)
        try:
            s.connect((host, 443))
        except ConnectionResetError as error:
            # A handshake that is refused says so otherwise: this one had ended before the thread was run again.
            print(json.dumps({"cut": str(error)}), flush=True)
            continue
        except OSError as error:
            print(json.dumps({"refused": str(error)}), flush=True)
            continue
        try:
            s.send(b"HOLD")
            print(json.dumps({"held": s.recv(10) == b"held"}), flush=True)
        except OSError as error:
            print(json.dumps({"cut": str(error)}), flush=True)
        s.close()
        over.wait(0.005)


threads = [threading.Thread(target=clients) for _ in range(4)]
for one in threads:
    one.start()
sys.stdin.read()
over.set()
