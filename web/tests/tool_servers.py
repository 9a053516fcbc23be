"""An MCP server and an HTTP API with an OpenAPI document, in one process with the tests."""

import http.server
import json
import threading

SECRET = "secret-of-the-tools"
OPERATIONS = 300
VERSION = "2025-06-18"


class ToolServers:
    """`/mcp` is an MCP server, `/openapi.json` the document of the API below `/v1`."""

    def __init__(self):
        self.calls = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def _handler(self):
        servers = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path == "/openapi.json":
                    return self._respond(200, document())
                if self.path.startswith("/v1/things/"):
                    servers.calls.append((self.path, self.headers.get("Authorization")))
                    return self._respond(200, {"thing": self.path.rsplit("/", 1)[1], "sent": self.headers.get("Authorization")})
                return self._respond(404, {"error": "nothing here"})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "null")
                if self.path != "/mcp":
                    return self._respond(404, {"error": "nothing here"})
                servers.calls.append((body.get("method"), self.headers.get("Authorization")))
                if "id" not in body:
                    return self._respond(202, None)
                return self._respond(200, {"jsonrpc": "2.0", "id": body["id"], **answer(body)})

            def do_DELETE(self):
                self._respond(200, {})

            def _respond(self, status, body):
                data = b"" if body is None else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        return Handler


def answer(request):
    if request["method"] == "initialize":
        return {"result": {"protocolVersion": VERSION, "capabilities": {"tools": {}}, "serverInfo": {"name": "Library", "version": "1.4"}}}
    if request["method"] == "tools/list":
        schema = {"type": "object", "properties": {"title": {"type": "string", "examples": ["Dune"]}}, "required": ["title"]}
        return {"result": {"tools": [
            {"name": "find_book", "description": "Finds a book by its title.\nIn all branches.", "inputSchema": schema},
            {"name": "lend_book", "description": "Lends a book.", "inputSchema": schema},
            {"name": "broken", "inputSchema": "none"},
        ]}}
    if request["method"] == "tools/call":
        title = request["params"]["arguments"]["title"]
        return {"result": {"content": [{"type": "text", "text": f"{title}: on the shelf"}]}}
    return {"error": {"code": -32601, "message": "unknown method"}}


def document():
    """300 operations, of which one cannot be imported."""
    paths = {}
    for number in range(OPERATIONS - 1):
        parameter = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "example": f"thing-{number}"}}
        paths[f"/things/{{id}}/part{number}" if number else "/things/{id}"] = {"get": {
            "operationId": f"getThing{number}", "summary": f"The part {number} of a thing, with everything that is known about it",
            "parameters": [parameter]}}
    upload = {"required": True, "content": {"image/png": {}}}
    paths["/pictures"] = {"post": {"operationId": "uploadPicture", "requestBody": upload}}
    return {
        "openapi": "3.0.3", "info": {"title": "Thing Store", "version": "1"}, "servers": [{"url": "/v1"}], "paths": paths,
        "security": [{"token": []}], "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }
