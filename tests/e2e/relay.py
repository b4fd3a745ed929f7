"""A relay between an edge and a cloud whose connections can be frozen: they stay
open, TCP acknowledges, and no byte comes through."""

import socket
import threading


class Relay:
    def __init__(self, to_port):
        self.to_port = to_port
        self.frozen = set()  # numbers of connections, from 0
        self.freeze_new = False
        self.count = 0
        self._pairs = {}
        self._go = threading.Condition()
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._sock.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._sock.close()
        with self._go:
            self.frozen.clear()
            self.freeze_new = False
            self._go.notify_all()
            pairs, self._pairs = self._pairs, {}
        for pair in pairs.values():
            for sock in pair:
                close(sock)

    def freeze(self, *numbers):
        """These connections, or all that there are and will be."""
        with self._go:
            self.freeze_new = not numbers
            self.frozen |= set(numbers or range(self.count))

    def thaw(self):
        with self._go:
            self.freeze_new = False
            self.frozen.clear()
            self._go.notify_all()

    def _accept(self):
        while True:
            try:
                near, _ = self._sock.accept()
                far = socket.create_connection(("127.0.0.1", self.to_port))
            except OSError:
                return
            with self._go:
                number = self.count
                self.count += 1
                self._pairs[number] = (near, far)
                if self.freeze_new:
                    self.frozen.add(number)
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(number, a, b), daemon=True).start()

    def _pump(self, number, a, b):
        try:
            while data := a.recv(1 << 16):
                with self._go:
                    self._go.wait_for(lambda: number not in self.frozen)
                b.sendall(data)
        except OSError:
            pass
        with self._go:  # the end does not come through, either
            self._go.wait_for(lambda: number not in self.frozen)
        close(b)


def close(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
