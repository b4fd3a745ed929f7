"""The processes of a fault campaign: clouds, edges, and a `kerf link` before each edge.

    cloud A (fake)  <- link - edges 0..3
    cloud A, else B <- link - edges 4, 5 (B: no link)
    cloud D (digits, the real engine) <- link - edges 6, 7

Edges 2 and 3 dial a name that only their private /etc/hosts knows; edges 1 and 5 and
cloud A live under a clock that can be moved; the stores of edges 0 and 6 are small
disks. Edges 1 and 3 pack their tensors without loss and send them in blocks. What
needs root or faketime is left out where there is none.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests" / "e2e"))

import exact  # noqa: E402

KERF = os.environ.get("KERF") or str(REPO / "build" / "kerf")
DEAD_S = 1.0
RATE = 12  # requests of an edge per second
NAME = "cloud.kerf.test"
NAMED, CLOCKED, DISKED, DOUBLE, DIGITS = (2, 3), (1, 5), (0, 6), (4, 5), (6, 7)
PACKING = (1, 3)
WIDTH = 17_408  # values that cross, 68 KB: enough to be lent, not copied; digits: 2,048
EDGES = 8
HEAD_BYTES = 60_000
DISK = "400k"
LISTED = 4000  # inputs that one edge is given
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


class Broken(Exception):
    """The campaign itself cannot go on."""


class Patience:
    """Seconds in which we ran: while the machine froze us, nobody else did anything."""

    def __init__(self, seconds):
        self.left = seconds
        self.last = time.monotonic()

    def over(self):
        at = time.monotonic()
        self.left -= min(at - self.last, 0.3)
        self.last = at
        return self.left <= 0


class Lines:
    """A process whose whole JSON lines are kept with the time at which they came."""

    def __init__(self, name, argv, log, env=None, stdin=None):
        self.name = name
        self.events = []  # (time, event)
        self.told = threading.Condition()
        self.log = open(log, "ab")  # noqa: SIM115 - lives as long as the process
        self.log.write(f"$ {' '.join(map(str, argv))}\n".encode())
        self.log.flush()
        self.popen = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**os.environ, "KERF_LOG": "info", **(env or {})},
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.popen.stdout:
            if not line.endswith(b"\n"):
                break  # it died within it: nobody was told
            self.log.write(line)
            self.log.flush()
            event = json.loads(line)
            with self.told:
                self.events.append((time.monotonic(), event))
                self.told.notify_all()

    def kill_group(self):
        """Also what it started; whether or not it is over."""
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()

    def wait_event(self, kind, since=0.0, patience=60.0, **fields):
        """(time, event) of the first of this kind that came after `since`; or None."""
        patience = Patience(patience)
        seen = 0
        with self.told:
            while True:
                for at, event in self.events[seen:]:
                    if at > since and event["event"] == kind and fields.items() <= event.items():
                        return at, event
                seen = len(self.events)
                if patience.over():
                    return None
                if self.popen.poll() is not None and not self.reader.is_alive():
                    return None
                self.told.wait(0.1)

    def signal(self, number):
        self.popen.send_signal(number)

    def end(self, number, patience=60):
        """Signals it, and returns its exit status; None: it did not end."""
        self.signal(number)
        patience = Patience(patience)
        while (status := self.popen.poll()) is None and not patience.over():
            time.sleep(0.01)
        if status is None:
            self.popen.kill()
            self.popen.wait()
        self.reader.join(30)
        return status


class Clock:
    """A clock that processes take for the real one."""

    def __init__(self, path):
        self.path = path
        self.set("+0")

    def set(self, offset):
        self.path.write_text(offset + "\n")

    def env(self):
        return {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self.path),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


class Cloud:
    def __init__(self, world, name, models, engine):
        self.world, self.name, self.models, self.engine = world, name, models, engine
        self.port = 0
        self.clock = world.clock(f"cloud-{name}") if name == "A" else None
        self.start()

    def start(self):
        argv = [KERF, "cloud", "--engine", self.engine, "--models", self.models]
        argv += ["--cloud_port", self.port, "--dead-after", DEAD_S, "--json", "--quiet"]
        argv += self.world.keys("clouds/cloud")
        env = self.clock.env() if self.clock else None
        log = self.world.folder / f"cloud-{self.name}.log"
        self.lines = Lines(f"cloud {self.name}", argv, log, env=env)
        found = self.lines.wait_event("listening")
        if found is None:
            raise Broken(f"cloud {self.name} does not listen: see {log}")
        self.port = found[1]["port"]


class Link:
    def __init__(self, log, spec, to_port):
        argv = [KERF, "link", spec, "--to", to_port, "--json", "--control"]
        self.lines = Lines(log.stem, argv, log, stdin=subprocess.PIPE)
        self.port = self.lines.wait_event("listening")[1]["port"]

    def tell(self, line):
        """Returns when it is so, with the event that says it."""
        since = time.monotonic()
        self.lines.popen.stdin.write(line.encode() + b"\n")
        self.lines.popen.stdin.flush()
        found = self.lines.wait_event("control", since=since, line=line)
        if found is None or not found[1]["ok"]:
            raise Broken(f"{self.lines.name} does not take {line}")
        return found[1]


class Edge:
    """One edge through all its lives; `lives` has the Lines of each."""

    def __init__(self, world, number, cloud):
        self.world, self.number, self.cloud = world, number, cloud
        spec = f"rtt=2,jitter=1,seed={world.seed * 100 + number}"
        self.link = Link(world.folder / f"link-{number}.log", spec, cloud.port)
        self.inputs = world.inputs_of(number)
        self.store = world.folder / f"store-{number}"
        self.clock = world.clock(f"edge-{number}") if number in CLOCKED else None
        self.hosts = world.hosts(number) if number in NAMED else None
        self.disk = number in DISKED and world.mount(self.store)
        self.lives = []
        self.repairs = 0
        self.restarts = 0  # after it has ended by itself

    def start(self):
        host = NAME if self.hosts else "127.0.0.1"
        hosts = [f"{host}:{self.link.port}"]
        if self.number in DOUBLE:
            hosts.append(f"127.0.0.1:{self.world.clouds['B'].port}")
        left = self.left()
        argv = [KERF, "edge", "--engine", self.cloud.engine, "--json", "--once"]
        argv += ["--cloud_host", ",".join(hosts), "--name", f"e{self.number}"]
        argv += ["--store", self.store / "models", "--rate", RATE, "--dead-after", DEAD_S]
        argv += self.world.keys(f"edges/e{self.number}")
        if self.number in PACKING:
            argv += ["--codec", "exact", "--block", 1]
        argv += ["--window", 4, "--input", *left]
        if self.hosts:
            argv = [*self.hosts.prefix(), *argv]
        log = self.world.folder / f"edge-{self.number}.log"
        env = self.clock.env() if self.clock else None
        self.lives.append(Lines(f"edge {self.number}", argv, log, env=env))

    @property
    def lines(self):
        return self.lives[-1]

    def uses_link(self):
        """It is connected, and not to a second cloud."""
        told = [event for _, event in list(self.lines.events) if event["event"] == "state"]
        return bool(told) and told[-1]["connected"] and f":{self.link.port}" in told[-1]["text"]

    def wait_answer(self, since, patience):
        """(time, event); None: there was none. Starts it again as a supervisor would."""
        patience = Patience(patience)
        while not patience.over():
            found = self.lines.wait_event("result", since=since, patience=0.25)
            if found is not None:
                return found
            if self.lines.popen.poll() is not None:
                self.restarts += 1
                time.sleep(0.25)
                self.start()
        return None

    def results(self):
        """(time, event) of all lives."""
        for life in list(self.lives):
            yield from (e for e in list(life.events) if e[1]["event"] == "result")

    def answered(self):
        return {event["input"] for _, event in self.results()}

    def left(self):
        """What was not answered, in order."""
        answered = self.answered()
        return [path for path in self.inputs if str(path) not in answered]


class Hosts:
    """A private /etc/hosts, and no name but those in it."""

    def __init__(self, folder):
        self.path = folder
        (folder / "nsswitch.conf").write_text("hosts: files\n")
        self.set(True)

    def set(self, known):
        # In place: what is mounted is the file, not its name.
        with open(self.path / "hosts", "w") as file:
            file.write("127.0.0.1 localhost\n" + (f"127.0.0.1 {NAME}\n" if known else ""))

    def prefix(self):
        script = f"mount --bind {self.path}/hosts /etc/hosts && "
        script += f"mount --bind {self.path}/nsswitch.conf /etc/nsswitch.conf && "
        return ["unshare", "--mount", "sh", "-c", script + 'exec "$@"', "sh"]


class World:
    def __init__(self, folder, seed, tls=False):
        self.folder, self.seed, self.tls = folder, seed, tls
        self.mounts = []
        self.missing = []
        self.is_root = os.geteuid() == 0 and shutil.which("unshare") is not None
        if not self.is_root:
            self.missing.append("full disks and lost names need root")
        self.has_faketime = FAKETIME.exists()
        if not self.has_faketime:
            self.missing.append("clock jumps need faketime")
        self.clouds, self.edges = {}, []

    def make_keys(self):
        """Valid whatever a clock may jump to."""
        names = [f"e{number}" for number in range(EDGES)]
        for words in [["authority"], ["cloud", "127.0.0.1", NAME], ["edge", *names]]:
            argv = [KERF, "keygen", *words, "--keys", str(self.folder / "keys")]
            argv += ["--from", "2000-01-01", "--days", "36500"]
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)

    def keys(self, whose):
        return ["--tls", self.folder / "keys" / whose] if self.tls else []

    def clock(self, name):
        return Clock(self.folder / f"clock-{name}") if self.has_faketime else None

    def hosts(self, number):
        folder = self.folder / f"etc-{number}"
        folder.mkdir()
        return Hosts(folder) if self.is_root else None

    def mount(self, path):
        path.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "kerf-faults", str(path)]
        if not self.is_root or subprocess.run(words, capture_output=True).returncode != 0:
            return False
        self.mounts.append(path)
        return True

    def inputs_of(self, number):
        """Paths; each request has one of its own. The number in a name says what it is."""
        folder = self.folder / f"in-{number}"
        folder.mkdir()
        if number not in DIGITS:
            first = number * LISTED
            for index in range(first, first + LISTED):
                (folder / f"{index:06}.npy").write_bytes(exact.npy(exact.x_of(index)))
            return sorted(folder.iterdir())
        images = sorted((REPO / "models" / "digits" / "images").iterdir())
        for index in range(LISTED):
            image = images[index % len(images)]
            os.symlink(image, folder / f"{index:06}{image.suffix}")
        return sorted(folder.iterdir())

    def put_models(self, bias):
        self.bias = bias
        self._put(self.folder / "models", bias)

    @staticmethod
    def _put(folder, bias):
        exact.put(folder, width=WIDTH, bias=bias, head_bytes=HEAD_BYTES, seed=bias + 1)

    def start(self):
        if self.tls:
            self.make_keys()
        self.put_models(0)
        self._put(self.folder / "models-B", 0)
        self.clouds["A"] = Cloud(self, "A", self.folder / "models", "fake")
        self.clouds["B"] = Cloud(self, "B", self.folder / "models-B", "fake")
        self.clouds["D"] = Cloud(self, "D", REPO / "models" / "digits", "openvino")
        for number in range(EDGES):
            cloud = self.clouds["D" if number in DIGITS else "A"]
            self.edges.append(Edge(self, number, cloud))
        for edge in self.edges:
            edge.start()
        for edge in self.edges:
            if edge.lines.wait_event("result") is None:
                raise Broken(f"edge {edge.number} gets no first answer")

    def clean_up(self):
        everything = [e.lives[-1] for e in self.edges if e.lives]
        everything += [e.link.lines for e in self.edges]
        everything += [c.lines for c in self.clouds.values()]
        for lines in everything:
            lines.kill_group()
        for path in self.mounts:
            subprocess.run(["umount", "-l", str(path)], check=False)
