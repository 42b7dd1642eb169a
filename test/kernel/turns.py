"""A program that takes its turn from a launcher, in a folder whose files say how it behaves.

`go`: it says that it is prepared. `stay`: told that another one waits, it does not end. `free`: it says then that it has
nothing left to do.
"""
import json, os, signal, sys, time

folder, pid = sys.argv[1], os.getpid()


def say(**what):
    os.write(1, (json.dumps(what) + "\n").encode())


def there(name):
    return os.path.exists(os.path.join(folder, name))


def replaced(*_):
    say(replaced=pid)
    if there("free"):
        os.write(int(os.environ["ALTRACE_FREE_FD"]), b"f")
    while there("stay"):
        time.sleep(0.01)
    os._exit(0)


turn = os.environ.get("ALTRACE_TURN_FD")
if turn is not None:
    say(next=pid)
    while not there("go"):
        time.sleep(0.01)
    os.write(int(turn), b"p")
    say(prepared=pid)
    if os.read(int(turn), 1) != b"t":
        sys.exit(1)
signal.signal(signal.SIGHUP, replaced)
say(up=pid)
while True:
    signal.pause()
