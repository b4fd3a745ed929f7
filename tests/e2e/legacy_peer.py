"""The Python reference's two processes, as far as their wire goes: written from
its description, not from our code. docs/PROTOCOL.md, "Legacy wire".

    | int n, native order | n bytes of JSON | payload |

    CloudPeer   listens and sends files; dials the edge and reads tensors
    EdgePeer    dials the cloud and reads files; listens and sends tensors

Both can also misbehave: send(sock, bytes) takes any bytes, in pieces.
"""

import json
import socket
import struct
import time

import numpy as np

PATIENCE = 60


def message(header, payload=b""):
    """A header of the wire and what follows it."""
    text = json.dumps(header).encode()
    return struct.pack("i", len(text)) + text + payload


def file_message(name, data, size=None):
    """A file; size: what the header says, when it is not the truth."""
    return message({"filename": name, "filesize": len(data) if size is None else size}, data)


def head_file(name, end, data, size=None):
    """A file of a head under the name that the reference's cloud gives it."""
    return file_message(f"data/send/model/client_infer_{name}.{end}", data, size)


def tensor_message(index, tensor):
    """A tensor; the size is that of a Python bytes object, as there."""
    data = np.ascontiguousarray(tensor, np.float32).tobytes()
    return message(
        {"filename": index, "filesize": len(data) + 33, "tensorshape": list(tensor.shape)}, data
    )


def send(sock, data, cuts=()):
    """All of data; cuts: positions where the peer surely waits a little."""
    places = [0, *cuts, len(data)]
    for start, end in zip(places, places[1:], strict=False):
        sock.sendall(data[start:end])
        if end < len(data):
            time.sleep(0.001)


def read_exactly(sock, count):
    data = bytearray()
    while len(data) < count:
        piece = sock.recv(min(count - len(data), 1 << 16))
        if not piece:
            raise EOFError(f"{len(data)} of {count} bytes, then the end")
        data += piece
    return bytes(data)


def read_header(sock):
    """The header as parsed, and its bytes."""
    text = read_exactly(sock, struct.unpack("i", read_exactly(sock, 4))[0])
    return json.loads(text), text


def read_file(sock):
    """(name as sent, bytes)"""
    header, _ = read_header(sock)
    return header["filename"], read_exactly(sock, header["filesize"])


def read_tensor(sock):
    """(header, its bytes, array): the shape says how long the payload is."""
    header, text = read_header(sock)
    shape = header["tensorshape"]
    data = read_exactly(sock, int(np.prod(shape)) * 4)
    return header, text, np.frombuffer(data, np.float32).reshape(shape)


def reserve():
    """A port of our own that refuses connections until listen() is called."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(PATIENCE)
    return sock


def accept(listener):
    sock, _ = listener.accept()
    return tune(sock)


def dial(port):
    """Tries again until somebody listens, as the reference does."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return tune(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def tune(sock):
    sock.settimeout(PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def is_closed(sock):
    """Waits for the end of the stream; what still comes is dropped."""
    try:
        while sock.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    return True


class Peer:
    """A listening socket, at work from start() on; all is gone after close()."""

    def __init__(self):
        self.listener = reserve()
        self.port = self.listener.getsockname()[1]
        self.socks = [self.listener]

    def start(self):
        self.listener.listen()
        return self

    def keep(self, sock):
        self.socks.append(sock)
        return sock

    def close(self):
        for sock in self.socks:
            sock.close()


class CloudPeer(Peer):
    def accept(self):
        """The next edge that connects, for files."""
        return self.keep(accept(self.listener))

    def send_heads(self, sock, heads, cuts=()):
        """heads: {name: (pdmodel, pdiparams)}; all graphs, then all weights."""
        for at, end in enumerate(["pdmodel", "pdiparams"]):
            for name, files in heads.items():
                send(sock, head_file(name, end, files[at]), cuts)

    def dial_edge(self, port):
        """The connection that tensors come on."""
        return self.keep(dial(port))


class EdgePeer(Peer):
    def accept(self):
        """The cloud that comes for tensors."""
        return self.keep(accept(self.listener))

    def dial_cloud(self, port):
        """The connection that files come on."""
        return self.keep(dial(port))
