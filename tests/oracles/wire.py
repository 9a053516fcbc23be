"""Answers of tools as servers send them, imports by hand-written documents, and starts without CA certificates."""

import gzip
import http.server
import json
import subprocess
import threading
import zlib

from product import PYTHON, Caller, Product, Refused

SENTENCE = "Grüße aus Wien: order 7 is shipped. " * 40
SCHEMES = ("identity", "gzip", "x-gzip", "deflate", "raw-deflate", "br")
# Without these files and folders there are no CA certificates.
NO_CERTIFICATES = {"SSL_CERT_FILE": "/nonexistent", "SSL_CERT_DIR": "/nonexistent", "AWS_CA_BUNDLE": "/nonexistent"}


def run(report, product, folder):
    compressed(report, product)
    documents(report, product, folder)
    certificates(report, folder)


def encoded(scheme):
    data = SENTENCE.encode()
    if scheme == "identity":
        return data, {}
    if scheme in ("gzip", "x-gzip"):
        return gzip.compress(data), {"Content-Encoding": scheme}
    if scheme == "deflate":
        return zlib.compress(data), {"Content-Encoding": scheme}
    if scheme == "raw-deflate":
        packer = zlib.compressobj(wbits=-15)
        return packer.compress(data) + packer.flush(), {"Content-Encoding": "deflate"}
    program = "import brotli, sys; sys.stdout.buffer.write(brotli.compress(sys.stdin.buffer.read()))"
    done = subprocess.run([PYTHON, "-c", program], input=data, stdout=subprocess.PIPE, check=True)
    return done.stdout, {"Content-Encoding": scheme}


def compressed(report, product):
    bodies = {scheme: encoded(scheme) for scheme in SCHEMES}
    server, caller = Server(lambda path: bodies[path.strip("/")]), Caller()
    try:
        operation = {"name": "read", "path": "/{scheme}", "parameters": {"type": "object", "properties": {"scheme": {"type": "string"}}}}
        agent = product.create(caller.definition("packed", tools=[{"type": "http", "name": "api", "base_url": server.url, "operations": [
            {**operation, "parameters": {**operation["parameters"], "required": ["scheme"]}}]}]))
        for scheme in SCHEMES:
            with report.case(f"an answer in {scheme}"):
                (result, status), = caller.results(product, agent, [["read", {"scheme": scheme}]])
                report.expect(status == "ok" and result == SENTENCE, f"{status}: {result[:200]}")
    finally:
        caller.close()
        server.close()


def documents(report, product, folder):
    server, caller = Server(lambda path: (path.encode(), {})), Caller()
    integer = {"name": "n", "in": "query", "required": True, "schema": {"type": "integer"}}
    filter_ = {"name": "filter", "in": "query", "style": "deepObject", "explode": True, "schema": {
        "type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "integer"}}}}}
    document = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "servers": [{"url": "/v1"}],
                "components": {"securitySchemes": {"key": {"type": "apiKey", "in": "query", "name": "api_key"}}}, "paths": {
                    "/integer": {"get": {"operationId": "integer", "parameters": [integer], "responses": {}}},
                    "/deep": {"get": {"operationId": "deep", "parameters": [filter_], "responses": {}}},
                    "/keyed": {"get": {"operationId": "keyed", "security": [{"key": []}], "responses": {}}}}}
    file = folder / "document.json"
    file.write_text(json.dumps(document))
    try:
        agent = product.create(caller.definition("documents"))
        add = ("agent", "tool", "add", "documents", "--openapi", file, "--base-url", server.url, "--json")
        with report.case("a key in the query is left out and listed"):
            code, printed, errors = product.command(*add)
            report.expect(code == 0 and [each["operation"] for each in json.loads(printed)["left_out"]] == ["keyed"], printed + errors)
        with report.case("a second import of a document"):
            code, _, errors = product.command(*add, "--name", "again")
            report.expect(code == 0, errors)
            tools = json.loads(product.command("agent", "tool", "list", "documents", "--json")[1])["tools"]
            names = [operation["name"] for tool in tools for operation in tool["operations"]]
            report.expect(len(names) == len(set(names)) == 4, names)
        cases = {"126.0": ("integer", '{"n": 126.0}', "/v1/integer?n=126"), "1e2": ("integer", '{"n": 1e2}', "/v1/integer?n=100"),
                 "2^53 + 1": ("integer", '{"n": 9007199254740993}', "/v1/integer?n=9007199254740993"),
                 "deepObject": ("deep", '{"filter": {"a": "x y"}}', ("/v1/deep?filter[a]=x%20y", "/v1/deep?filter%5Ba%5D=x%20y", "/v1/deep?filter%5Ba%5D=x+y"))}
        for title, (name, arguments, expected) in cases.items():
            with report.case(title):
                (result, status), = caller.results(product, agent, [[name, arguments]])
                report.expect(status == "ok" and result in ((expected,) if isinstance(expected, str) else expected), f"{status}: {result}")
    finally:
        caller.close()
        server.close()


def certificates(report, folder):
    with report.case("the server starts without CA certificates"):
        product = Product(folder, NO_CERTIFICATES, "bare")
        caller = Caller()
        try:
            agent = product.create({"name": "extractive", "sources": [{"title": "Returns", "text": "Returns are free for 30 days."}]})
            status = product.trigger(agent, {"ask": "returns"})
            report.expect(status["status"] == "SUCCESS", status)
            report.expect(caller.results(product, product.create(caller.definition("http")), []) == [], "no answer")
            agent = product.create({"name": "https", "model": {"provider": "openai", "base_url": "https://127.0.0.1:1/v1", "name": "x"},
                                    "limits": {"timeout_seconds": 5}})
            status = product.trigger(agent, {"ask": "x"})
            report.expect(status["status"] == "FAILURE", status)
        except Refused as error:
            report.fail(str(error))
        finally:
            caller.close()
            product.close()


class Server:
    """`respond` gives the body and the headers for a path."""

    def __init__(self, respond):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body, headers = respond(self.path)
                self.send_response(200)
                for name, value in {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Its requests are not news."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
