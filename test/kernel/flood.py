"""Datagrams to the outside as fast as they go, until standard input ends. Says when the first thousand went out."""
import json, socket, sys, threading

host = sys.argv[1]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
over = threading.Event()
count = 0


def send():
    global count
    while not over.is_set():
        try:
            s.sendto(b"ALTRACE-FLOOD", (host, 4444))
        except OSError:
            pass
        count += 1
        if count == 1000:
            print(json.dumps({"thousand": True}), flush=True)


print(json.dumps({"flooding": True}), flush=True)
thread = threading.Thread(target=send)
thread.start()
sys.stdin.read()
over.set()
thread.join()
