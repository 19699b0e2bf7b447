#!/usr/bin/env python3
"""Slow_wire delivers what is sent between two TUN devices a while later.

It stands for distance where the kernel has no netem. Packets keep their order;
every second one of a direction is late by the jitter as well, so that the
round trip's deviation is known too.

With a log, one packet in five is late instead, at random, and only between
one SIGUSR1 and the next; each TCP segment is told with when it came and when
it was delivered: direction, both times in ns, first and last sequence number,
acknowledgement.

usage: slow_wire.py DEVICE DEVICE DELAY_US JITTER_US [LOG]
"""

import fcntl
import os
import random
import select
import signal
import struct
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
MOST_PACKETS = 4096
FIN, SYN = 1, 2


def tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def segment(packet):
    """Sequence numbers of an IPv4 TCP segment, its end included; its ack."""
    if packet[0] >> 4 != 4 or packet[9] != 6:
        return None
    tcp = (packet[0] & 15) * 4
    seq, ack, offset, flags = struct.unpack_from("!IIBB", packet, tcp + 4)
    length = len(packet) - tcp - (offset >> 4) * 4 + bool(flags & SYN) + bool(flags & FIN)
    return seq, (seq + length) & 0xFFFFFFFF, ack


class Wire:
    def __init__(self, devices, delay_us, jitter_us, log):
        self.fds = [tun(name) for name in devices]
        self.delay_ns, self.jitter_ns = delay_us * 1000, jitter_us * 1000
        self.log = log
        self.jitters = log is None
        self.random = random.Random(1)
        self.underway = {fd: deque() for fd in self.fds}
        self.seen = dict.fromkeys(self.fds, 0)

    def toggle(self, *_):
        self.jitters = not self.jitters

    def late(self, fd):
        self.seen[fd] += 1
        if not self.jitters:
            return False
        return self.seen[fd] % 2 if self.log is None else self.random.random() < 0.2

    def take(self, fd):
        try:
            packet = os.read(fd, 65536)
        except OSError:
            return  # its namespace is on its way out
        other = self.fds[1 - self.fds.index(fd)]
        now = time.monotonic_ns()
        due = now + self.delay_ns + self.jitter_ns * bool(self.late(fd))
        if len(self.underway[other]) < MOST_PACKETS:
            self.underway[other].append((due, now, packet))

    def deliver(self, fd, queue):
        while queue and queue[0][0] <= time.monotonic_ns():
            _, came, packet = queue.popleft()
            now = time.monotonic_ns()
            try:
                os.write(fd, packet)
            except OSError:
                continue  # the far end is not up
            told = self.log is not None and segment(packet)
            if told:
                print(self.fds.index(fd), came, now, *told, file=self.log)

    def run(self):
        while True:
            for fd, queue in self.underway.items():
                self.deliver(fd, queue)
            first = min((queue[0][0] for queue in self.underway.values() if queue), default=None)
            wait_s = None if first is None else max(0, first - time.monotonic_ns()) / 1e9
            for fd in select.select(self.fds, [], [], wait_s)[0]:
                self.take(fd)


def main():
    log = open(sys.argv[5], "w", buffering=1) if len(sys.argv) > 5 else None
    wire = Wire(sys.argv[1:3], int(sys.argv[3]), int(sys.argv[4]), log)
    signal.signal(signal.SIGUSR1, wire.toggle)
    print("ready", flush=True)
    wire.run()


if __name__ == "__main__":
    main()
