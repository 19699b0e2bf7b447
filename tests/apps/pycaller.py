#!/usr/bin/env python3
"""Pycaller serves each connection by a thread, which calls a downstream itself.

GET /call?id=N&ms=M asks the downstream for /sleep?id=N&ms=M, on a connection
that the thread keeps, and gives its answer.

usage: pycaller.py HOST:PORT DOWNSTREAM_HOST:PORT
"""

import http.client
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    downstream = None

    def do_GET(self):
        if self.downstream is None:
            self.downstream = http.client.HTTPConnection(sys.argv[2])
        self.downstream.request("GET", self.path.replace("/call", "/sleep", 1))
        reply = self.downstream.getresponse()
        body = reply.read()
        self.send_response(reply.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def main():
    host, _, port = sys.argv[1].rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("listening %s:%d" % server.server_address[:2], flush=True)
    server.serve_forever()


main()
