#!/usr/bin/env python3
"""The way of the Python reference: a length, a JSON head, the payload, and reads of
at most 1,024 bytes. Kinder than it in one thing: what is read goes into memory that
is there, instead of being joined. It never answers; here it does, with 40 bytes.

Its arguments and its output are those of src/bench/peer.h.
"""

import array
import json
import os
import socket
import struct
import sys
import time

ANSWER = 40
READ = 1024
WINDOW = 8


def receive(conn, into):
    got = 0
    while got < len(into):
        n = conn.recv_into(into[got : got + READ])
        if n == 0:
            return False
        got += n
    return True


def serve(size):
    listener = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"event": "ready", "port": listener.getsockname()[1]}), flush=True)
    conn, _ = listener.accept()
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = memoryview(bytearray(size))
    head = memoryview(bytearray(4))
    while receive(conn, head):
        text = memoryview(bytearray(struct.unpack("i", head)[0]))
        if not receive(conn, text):
            break
        shape = json.loads(bytes(text))["tensorshape"]
        assert shape[0] * shape[1] * 4 == size
        if not receive(conn, data):
            break
        conn.sendall(data[-ANSWER:])
    while True:
        time.sleep(3600)


def cpu(pid):
    return time.clock_gettime(~pid << 3 | 2) * 1e6


def peak_kib():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


class Client:
    def __init__(self, port, size, server):
        self.conn = socket.create_connection(("127.0.0.1", port))
        self.conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tensors = [
            memoryview(array.array("f", [slot]) * (size // 4)).cast("B") for slot in range(WINDOW)
        ]
        self.size, self.server, self.index = size, server, 0
        self.answer = memoryview(bytearray(ANSWER))

    def send(self, slot):
        head = {
            "filename": self.index,
            "filesize": self.size + 33,
            "tensorshape": [1, self.size // 4],
        }
        text = json.dumps(head).encode()
        self.index += 1
        self.conn.sendall(struct.pack("i", len(text)) + text)
        self.conn.sendall(self.tensors[slot])

    def take(self):
        if not receive(self.conn, self.answer):
            sys.exit("the server is gone")

    def run(self, runs, window):
        warm = max(2 * WINDOW, min(runs, 50))
        sent, times, start = 0, [], None
        for done in range(warm + runs):
            if done == warm:
                start = time.monotonic(), cpu(os.getpid()), cpu(self.server)
            asked = time.perf_counter()
            while sent < warm + runs and sent < done + window:
                self.send(sent % window)
                sent += 1
            self.take()
            if done >= warm:
                times.append((time.perf_counter() - asked) * 1e6)
        end = time.monotonic(), cpu(os.getpid()), cpu(self.server)
        own, its = (end[1] - start[1]) / runs, (end[2] - start[2]) / runs
        return sorted(times), runs / (end[0] - start[0]), own, its


def main():
    if sys.argv[1] == "server":
        serve(int(sys.argv[2]))
    port, size, runs, loaded, server = map(int, sys.argv[2:])
    client = Client(port, size, server)
    times, _, own, its = client.run(runs, 1)
    _, rate, loaded_own, loaded_its = client.run(loaded, WINDOW)
    result = {
        "event": "result",
        "p50_us": times[len(times) // 2],
        "p99_us": times[int(len(times) * 0.99)],
        "client_cpu_us": own,
        "server_cpu_us": its,
        "throughput_hz": rate,
        "loaded_client_cpu_us": loaded_own,
        "loaded_server_cpu_us": loaded_its,
        "client_rss_kib": peak_kib(),
    }
    print(json.dumps(result), flush=True)


main()
