#!/usr/bin/env python3
"""Pyapi is the Python workload: one thread per connection, HTTP/1.1 keep-alive.

It answers the same paths as goapi where they make sense for it, and writes a
response's head and body with two system calls, as http.server does.

usage: pyapi.py [HOST:PORT]
"""

import os
import signal
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two segments; without this the second waits for the
    # acknowledgement of the first.
    disable_nagle_algorithm = True

    def serve(self):
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        body = self.read_body()
        name = url.path.split("/")[1]
        handler = getattr(self, "on_" + name, None)
        if handler is None:
            self.answer(404, b"no such path\n")
        else:
            handler(url.path, body)

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
        end_ns = time.monotonic_ns() + self.number("us", 100) * 1000
        while time.monotonic_ns() < end_ns:
            pass
        self.answer(200, b"spun\n")

    def on_sleep(self, _path, _body):
        time.sleep(self.number("ms", 10) / 1000)
        self.answer(200, b"slept\n")

    def on_lock(self, _path, _body):
        """Waits for a lock that another thread holds; answers for how long, in ns."""
        lock = threading.Lock()
        lock.acquire()
        start_ns = time.monotonic_ns()
        # To start a thread is to wait for it, too.
        threading.Timer(self.number("ms", 10) / 1000, lock.release).start()
        lock.acquire()
        self.answer(200, b"%d" % (time.monotonic_ns() - start_ns))

    def on_fsync(self, _path, _body):
        """Brings a file to its disk; answers how long that took, in ns."""
        with tempfile.TemporaryFile(dir=os.environ.get("FILES", "/var/tmp")) as file:
            file.write(bytes(self.number("bytes", 1 << 16)))
            file.flush()
            start_ns = time.monotonic_ns()
            os.fsync(file.fileno())
            took_ns = time.monotonic_ns() - start_ns
        self.answer(200, b"%d" % took_ns)

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


def main():
    host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:0").rpartition(":")
    server = Server((host, int(port)), Handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("listening %s:%d" % server.server_address[:2], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
