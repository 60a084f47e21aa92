"""A web server that goes politely: after SIGTERM it serves on for a while, but says that it is not ready."""

import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# How long clients that have not heard yet are served.
DRAIN_SECONDS = 3
going = threading.Event()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        leaving = self.path == "/ready" and going.is_set()
        text = "%s from %s\n" % (os.environ.get("GREETING", "hello"), os.environ.get("MESOS_TASK_ID", "here"))
        body = (text if not leaving else "going\n").encode()
        self.send_response(503 if leaving else 200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *values):
        print(self.address_string(), form % values, flush=True)


def drain(server):
    time.sleep(DRAIN_SECONDS)
    server.shutdown()


def main():
    server = ThreadingHTTPServer(("", int(os.environ.get("PORT0", "8000"))), Handler)

    def leave(*_):
        if not going.is_set():
            going.set()
            threading.Thread(target=drain, args=(server,)).start()

    signal.signal(signal.SIGTERM, leave)
    server.serve_forever()


main()
