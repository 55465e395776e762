"""Takes Recado's callbacks, as docs/callbacks.md shows: python3 callback.py PORT, with the secret in RECADO_SECRET."""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["RECADO_SECRET"])


class Callbacks(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            # Over the bytes as they came; also refuses what is older than five minutes.
            webhook.verify(body, {name.lower(): value for name, value in self.headers.items()})
        except WebhookVerificationError:
            return self.answer(401)
        event = json.loads(body)
        # Keep it under its id before you answer: the same may come again.
        print(event["id"], event["type"], flush=True)
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


HTTPServer(("127.0.0.1", int(sys.argv[1])), Callbacks).serve_forever()
