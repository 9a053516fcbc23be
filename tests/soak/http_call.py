"""One HTTP request, on a connection of its own."""

import dataclasses
import http.client
import json
import urllib.parse

# What a killed or absent server looks like to its caller.
NO_ANSWER = (OSError, http.client.HTTPException)


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self):
        return json.loads(self.body)


def call(method, url, body=None, headers=None, timeout=30):
    connection = _send(method, url, body, headers, timeout)
    try:
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def hang_up(method, url, body=None, headers=None, timeout=30):
    """Sends the request and closes the connection without waiting for an answer."""
    _send(method, url, body, headers, timeout).close()


def _send(method, url, body, headers, timeout):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body, headers or {})
    except BaseException:
        connection.close()
        raise
    return connection
