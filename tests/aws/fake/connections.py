"""A proxy in front of a server, whose connections can die without a word.

A process that Lambda has frozen does not see that a server or a NAT closed its idle
connections (https://docs.aws.amazon.com/lambda/latest/dg/best-practices.html, "Use a
keep-alive directive to maintain persistent connections"). To the thawed process they
look open. What it sends is answered with RST.
"""

import socket
import struct
import threading

from .wire import listen


class Proxy:
    def __init__(self, port):
        self.target = ("127.0.0.1", port)
        self.listener, self.port = listen()
        self.url = f"http://127.0.0.1:{self.port}"
        self.links = set()
        # Connections that were opened since the start.
        self.opened = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def forget_connections(self):
        """Breaks all open connections, without a sign for the client."""
        for link in list(self.links):
            link.forget()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            self.opened += 1
            self.links.add(Link(self, client))


class Link:
    def __init__(self, proxy, client):
        self.proxy, self.client = proxy, client
        self.server = socket.create_connection(proxy.target)
        self.is_forgotten = False
        for end in (self.client, self.server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._pump, args=(self.client, self.server), daemon=True).start()
        threading.Thread(target=self._pump, args=(self.server, self.client), daemon=True).start()

    def forget(self):
        self.is_forgotten = True
        self._wake(self.server)

    def _pump(self, source, target):
        try:
            while data := source.recv(65_536):
                if self.is_forgotten:
                    self._reset()
                    return
                target.sendall(data)
        except OSError:
            pass
        # The server's end of a forgotten connection: its client must not notice.
        if not (self.is_forgotten and source is self.server):
            self._close()

    def _reset(self):
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close()

    def _close(self):
        self.proxy.links.discard(self)
        self._wake(self.server)
        # A reset must not be softened by a FIN.
        if not self.is_forgotten:
            self._wake(self.client)
        self.server.close()
        self.client.close()

    def _wake(self, end):
        """Ends the thread that waits for data of this end."""
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            # It is closed already.
            pass
