"""As many connections at once as are asked for. Each line on standard input asks how many of them were taken, wait, or were
refused. Once it ends, those that were taken by then are closed, which makes room for those that wait, and these are served.
"""
import json, resource, select, socket, sys

host, count = sys.argv[1], int(sys.argv[2])
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
waiting, taken, refused = {}, [], []
served, is_over = 0, False
poll = select.poll()
for _ in range(count):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex((host, 443))
    waiting[s.fileno()] = s
    poll.register(s, select.POLLOUT)
poll.register(sys.stdin, select.POLLIN)


def tell():
    said = {"taken": len(taken), "waiting": len(waiting), "refused": len(refused), "served": served}
    print(json.dumps(said), flush=True)


while waiting or not is_over:
    for fd, _ in poll.poll():
        if fd == sys.stdin.fileno():
            is_over = not sys.stdin.readline()
            if is_over:
                poll.unregister(fd)
                for s in taken:
                    s.close()
                taken.clear()
            else:
                tell()
            continue
        s = waiting.pop(fd)
        poll.unregister(fd)
        (refused if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) else taken).append(s)
    while is_over and taken:
        s = taken.pop()
        s.setblocking(True)
        s.send(b"HOLD")
        served += s.recv(10) == b"held"
        s.close()
tell()
