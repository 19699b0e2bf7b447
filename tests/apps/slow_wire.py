#!/usr/bin/env python3
"""Slow_wire delivers what is sent between two TUN devices a while later.

It stands for distance where the kernel has no netem. Packets keep their order;
every second one of a direction is late by the jitter as well, so that the
round trip's deviation is known too.

usage: slow_wire.py DEVICE DEVICE DELAY_US JITTER_US
"""

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
MOST_PACKETS = 4096


def tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def main():
    fds = [tun(name) for name in sys.argv[1:3]]
    delay_ns, jitter_ns = (int(us) * 1000 for us in sys.argv[3:5])
    print("ready", flush=True)
    underway = {fd: deque() for fd in fds}
    seen = dict.fromkeys(fds, 0)
    while True:
        now = time.monotonic_ns()
        for fd, queue in underway.items():
            while queue and queue[0][0] <= now:
                try:
                    os.write(fd, queue.popleft()[1])
                except OSError:
                    pass  # the far end is not up
        first = min((queue[0][0] for queue in underway.values() if queue), default=None)
        wait_s = None if first is None else max(0, first - time.monotonic_ns()) / 1e9
        for fd in select.select(fds, [], [], wait_s)[0]:
            try:
                packet = os.read(fd, 65536)
            except OSError:
                continue  # its namespace is on its way out
            other = fds[1 - fds.index(fd)]
            seen[fd] += 1
            due = time.monotonic_ns() + delay_ns + jitter_ns * (seen[fd] % 2)
            if len(underway[other]) < MOST_PACKETS:
                underway[other].append((due, packet))


if __name__ == "__main__":
    main()
