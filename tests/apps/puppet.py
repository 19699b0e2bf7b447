#!/usr/bin/env python3
"""Puppet is the workload that does what a test tells it, one step at a time.

Each line of its input is a JSON string of Python code, run in one namespace
that lives as long as it does; each line of its output is a JSON pair of an
error (or null) and the value if the code was an expression. Counts and times
are exact because a step does nothing besides what its code says.
"""

import hashlib
import json
import os
import select
import socket
import struct
import sys
import threading
import time
import traceback


def listen(host, port, backlog=16):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, port))
    s.listen(backlog)
    return s


def connect(host, port):
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.connect((host, port))
    return s


def accept(listener):
    s, _ = listener.accept()
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def receive(s, size):
    """Reads that many bytes, or what comes before the end."""
    left = size
    while left > 0:
        part = s.recv(min(left, 1 << 20))
        if not part:
            break
        left -= len(part)
    return size - left


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def error_of(step, *args):
    """Name of the error that a step ends with, `ok` for none."""
    try:
        step(*args)
    except TimeoutError as error:
        # Python's own timeout has no error number.
        return "ETIMEDOUT" if error.errno else "timeout"
    except OSError as error:
        return type(error).__name__
    return "ok"


def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def spin_in_threads(count, seconds):
    """Threads that run at the same time, since hashing needs no interpreter,
    and stay until the next call, for what the kernel says of them."""
    global stay
    if stay is not None:
        stay.set()
    stay = threading.Event()
    data = bytes(1 << 16)

    def hash_until(end, done, stay):
        while time.monotonic() < end:
            hashlib.sha256(data)
        done.release()
        stay.wait()

    done = threading.Semaphore(0)
    for _ in range(count):
        args = (time.monotonic() + seconds, done, stay)
        threading.Thread(target=hash_until, args=args, daemon=True).start()
    for _ in range(count):
        done.acquire()


stay = None


def schedstat():
    """Nanoseconds on a CPU and waiting for one, over the threads."""
    sums = [0, 0]
    for tid in os.listdir("/proc/self/task"):
        with open("/proc/self/task/%s/schedstat" % tid) as file:
            fields = file.read().split()
        sums = [sums[0] + int(fields[0]), sums[1] + int(fields[1])]
    return sums


def run(code, names):
    try:
        expression = compile(code, "step", "eval")
    except SyntaxError:
        exec(compile(code, "step", "exec"), names)
        return None
    return eval(expression, names)


def main():
    names = globals()
    for line in sys.stdin:
        try:
            answer = [None, run(json.loads(line), names)]
            text = json.dumps(answer, default=lambda _: None)
        except Exception:
            text = json.dumps([traceback.format_exc(), None])
        print(text, flush=True)


if __name__ == "__main__":
    main()
