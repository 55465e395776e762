"""What the Python clients share: an ear for what the simulator posts, the simulator's own addresses, and a list of what held."""

import json
import queue
import sys
import threading
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Ear:
    """Hears every POST on a port of its own: the address as it was called, the headers, the bytes."""

    def __init__(self):
        heard = self.heard = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                heard.put((self.path, dict(self.headers.items()), body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self):
        return self.heard.get(timeout=10)

    def form(self):
        """The next POST as its full address, its signature and its fields."""
        path, headers, body = self.next()
        lower = {name.lower(): value for name, value in headers.items()}
        fields = dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
        return self.url + path, lower["x-twilio-signature"], fields


class Simulator:
    """The simulator's own addresses."""

    def __init__(self, base):
        self.base = base

    def post(self, path, body):
        request = urllib.request.Request(f"{self.base}/_sim/{path}", json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


class Findings:
    """What held and what did not, line by line."""

    def __init__(self, who):
        self.who, self.failed = who, 0

    def holds(self, what, holds, shown=""):
        if not holds:
            self.failed += 1
        print(f"{self.who}: {'holds' if holds else 'FAILS'}: {what}{'' if holds else f' ({shown})'}", flush=True)

    def end(self):
        sys.exit(1 if self.failed else 0)
