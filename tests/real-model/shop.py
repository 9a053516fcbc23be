"""A small HTTP API for agents to call."""

import contextlib
import http.server
import json
import threading

TOKEN = "of-the-shop"
STOCK = {"TS-38": 7, "TS-42": 0}


class Shop:
    """Answers `GET /stock/{sku}` to callers with the token, and records the requests."""

    def __init__(self, port):
        self.url, self.asked = f"http://127.0.0.1:{port}", []


@contextlib.contextmanager
def open_shop():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            shop.asked.append((self.path, self.headers["Idempotency-Key"]))
            sku = self.path.removeprefix("/stock/")
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                self.answer(401, {"error": "no token"})
            elif sku in STOCK:
                self.answer(200, {"sku": sku, "pairs_in_stock": STOCK[sku]})
            else:
                self.answer(404, {"error": "no such article"})

        def answer(self, status, body):
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        shop = Shop(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield shop
        server.shutdown()
