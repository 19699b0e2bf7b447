#!/usr/bin/env python3
"""Pyapi is the Python workload: one thread per connection, HTTP/1.1 keep-alive.

It answers the same paths as goapi where they make sense for it, and writes a
response's head and body with two system calls, as http.server does.

With a log it writes one line per request at SIGTERM, as goapi does:
id method path status 0 start_ns end_ns [what=ns]...

usage: pyapi.py [HOST:PORT [LOG]]
environment: FILES, the folder for /fsync; DOWNSTREAM, HOST:PORT for /down
"""

import os
import signal
import socket
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


# How far apart two readings of the clock may be while the thread was running.
GAP_NS = 50_000

journal = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    downstream = None
    # Head and body are two segments; without this the second waits for the
    # acknowledgement of the first.
    disable_nagle_algorithm = True

    def serve(self):
        start_ns = time.monotonic_ns()
        self.notes = []
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        body = self.read_body()
        name = url.path.split("/")[1]
        handler = getattr(self, "on_" + name, None)
        if handler is None:
            self.answer(404, b"no such path\n")
        else:
            handler(url.path, body)
        if len(sys.argv) > 2:
            entry = (url.path, self.command, start_ns, time.monotonic_ns(), self.notes)
            journal.append(entry)

    def note(self, what, ns):
        self.notes.append((what, ns))

    def wait_ns(self):
        """?us=, else ?ms=, as nanoseconds."""
        if "us" in self.query:
            return self.number("us", 0) * 1000
        return self.number("ms", 10) * 1_000_000

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = serve

    def number(self, name, otherwise):
        return int(self.query.get(name, [otherwise])[0])

    def read_body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        return body

    def answer(self, status, body, content_type="text/plain"):
        self.send_response(status)
        has_body = status not in (204, 304)
        if has_body:
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if has_body and self.command != "HEAD":
            self.wfile.write(body)

    def on_hello(self, _path, _body):
        self.answer(200, b"hello\n")

    def on_status(self, path, _body):
        status = int(path.rsplit("/", 1)[1])
        self.answer(status, b"%d\n" % status)

    def on_echo(self, _path, body):
        self.answer(200, body, "application/octet-stream")

    def on_spin(self, _path, _body):
        own_ns, out_ns, last_ns = 0, 0, time.monotonic_ns()
        for_ns = self.number("us", 100) * 1000
        while own_ns < for_ns:
            now_ns = time.monotonic_ns()
            if now_ns - last_ns < GAP_NS:
                own_ns += now_ns - last_ns
            else:
                out_ns += now_ns - last_ns
            last_ns = now_ns
        self.note("spin", own_ns)
        self.note("out", out_ns)
        self.answer(200, b"spun\n")

    def on_sleep(self, _path, _body):
        start_ns = time.monotonic_ns()
        if wait_ns := self.wait_ns():
            time.sleep(wait_ns / 1e9)
            self.note("sleep", time.monotonic_ns() - start_ns)
        self.answer(200, b"slept\n")

    def on_lock(self, _path, _body):
        """Waits for a lock that another thread holds; answers for how long, in ns."""
        wait_ns, took_ns = self.wait_ns(), 0
        if wait_ns:
            lock = threading.Lock()
            lock.acquire()
            start_ns = time.monotonic_ns()
            # To start a thread is to wait for it, too.
            threading.Timer(wait_ns / 1e9, lock.release).start()
            lock.acquire()
            took_ns = time.monotonic_ns() - start_ns
            self.note("lock", took_ns)
        self.answer(200, b"%d" % took_ns)

    def on_fsync(self, _path, _body):
        """Brings a file to its disk; answers how long that took, in ns."""
        size, took_ns = self.number("bytes", 1 << 16), 0
        if size:
            with tempfile.TemporaryFile(dir=os.environ.get("FILES", "/var/tmp")) as file:
                file.write(bytes(size))
                file.flush()
                start_ns = time.monotonic_ns()
                os.fsync(file.fileno())
                took_ns = time.monotonic_ns() - start_ns
            self.note("fsync", took_ns)
        self.answer(200, b"%d" % took_ns)

    def on_down(self, _path, _body):
        """Waits for a peer, on the connection's own connection to it."""
        if self.downstream is None:
            host, _, port = os.environ["DOWNSTREAM"].rpartition(":")
            self.downstream = socket.create_connection((host, int(port)))
            self.downstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start_ns = time.monotonic_ns()
        self.downstream.sendall(
            b"GET /sleep/0?us=%d HTTP/1.1\r\nHost: d\r\n\r\n" % self.number("us", 0)
        )
        answer = self.downstream.recv(4096)
        self.note("down", time.monotonic_ns() - start_ns)
        self.answer(200 if answer else 502, b"done\n")

    def on_stream(self, _path, _body):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for i in range(self.number("chunks", 5)):
            time.sleep(self.number("ms", 5) / 1000)
            chunk = b"chunk %d\n" % i
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")

    def on_big(self, _path, _body):
        self.answer(200, bytes(self.number("bytes", 1 << 20)))

    def log_message(self, *_args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def write_journal():
    if len(sys.argv) < 3:
        return
    with open(sys.argv[2], "w") as file:
        for path, method, start_ns, end_ns, notes in journal:
            last = path.rsplit("/", 1)[1]
            number = last if last.isdecimal() else "-"
            line = "%s %s %s 200 0 %d %d" % (number, method, path, start_ns, end_ns)
            file.write(line + "".join(" %s=%d" % note for note in notes) + "\n")


def end(*_args):
    write_journal()
    os._exit(0)


def main():
    host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:0").rpartition(":")
    server = Server((host, int(port)), Handler)
    signal.signal(signal.SIGTERM, end)
    print("listening %s:%d" % server.server_address[:2], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
