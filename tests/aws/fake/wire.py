"""HTTP/1.1 at the level of bytes, so that nothing is normalised on the way."""

import socket
import threading
from typing import NamedTuple

REASONS = {200: "OK", 202: "Accepted", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found",
           413: "Request Entity Too Large", 429: "Too Many Requests", 431: "Request Header Fields Too Large",
           500: "Internal Server Error", 503: "Service Unavailable"}


class Request(NamedTuple):
    """A request as it was sent. Text is Latin-1, so that every byte survives."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    head_bytes: int = 0

    def header(self, name):
        return next((value for header, value in self.headers if header.lower() == name.lower()), None)


class Response(NamedTuple):
    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = [("content-type", "application/json")]


def read_request(stream):
    """The next request on a connection, or None if there is none."""
    line = stream.readline()
    if not line.strip():
        return None
    method, target, _ = line.decode("latin-1").rstrip("\r\n").split(" ", 2)
    headers, head_bytes = read_headers(stream)
    request = Request(method, target, headers, b"", len(line) + head_bytes)
    return request._replace(body=read_body(stream, request))


def read_headers(stream):
    headers, size = [], 0
    while (line := stream.readline()) not in (b"\r\n", b"\n", b""):
        size += len(line)
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name, value.strip(" \t\r\n")))
    return headers, size


def read_body(stream, message):
    if (message.header("transfer-encoding") or "").lower() != "chunked":
        return stream.read(int(message.header("content-length") or 0))
    chunks = []
    while size := int(stream.readline().split(b";")[0], 16):
        chunks.append(stream.read(size))
        stream.readline()
    stream.readline()
    return b"".join(chunks)


def response_bytes(response, keep_alive=True):
    head = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Status')}"]
    head += [f"{name}: {value}" for name, value in response.headers]
    head += [f"content-length: {len(response.body)}", f"connection: {'keep-alive' if keep_alive else 'close'}"]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + response.body


def listen():
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    return listener, listener.getsockname()[1]


class Server:
    """Answers each request with what `answer` returns for it."""

    def __init__(self, answer):
        self.answer = answer
        self.listener, self.port = listen()
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as stream:
            try:
                while request := read_request(stream):
                    response = self.answer(request)
                    is_answer_to_head = request.method == "HEAD"
                    data = response_bytes(response)
                    connection.sendall(data[:len(data) - len(response.body)] if is_answer_to_head else data)
            except OSError:
                # The client is gone: it gave up, or a test killed it.
                return
