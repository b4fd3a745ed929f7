"""What can go wrong: each kind begins, lasts, and ends; then all is to go on by itself."""

import shutil
import signal
import time

from world import CLOCKED, DEAD_S, DIGITS, DISKED, EDGES, NAMED


class Fault:
    name = ""
    numbers = tuple(range(EDGES))  # edges that it may happen to
    finds = ""  # who is to find a dead link: "edge" or "cloud"
    ends = False  # the edge may end, with a reason
    longest = 1.0

    def __init__(self, world, edges, rng):
        self.world, self.edges = world, edges
        self.edge = edges[0]
        self.seconds = rng.uniform(0.1, self.longest)
        self.rng = rng

    def begin(self):
        raise NotImplementedError

    def end(self):
        pass


# ---- the link ---------------------------------------------------------------------


class Cut(Fault):
    name = "link cut"
    longest = 0.2

    def begin(self):
        self.edge.link.tell("reset")


class Outage(Fault):
    name = "link down"
    longest = 1.5

    def begin(self):
        self.edge.link.tell("down")

    def end(self):
        self.edge.link.tell("up")


class Stall(Fault):
    """Shorter and longer than it takes to be given up."""

    name = "link stalls"
    longest = 1.5 * DEAD_S

    def begin(self):
        self.edge.link.tell("hold")

    def end(self):
        self.edge.link.tell("go")


class Vanish(Fault):
    """Nobody is told; whoever dials gets through."""

    name = "link vanishes"
    longest = 0.1
    finds = "edge"

    def begin(self):
        self.edge.link.tell("vanish")


class Throttle(Fault):
    name = "link slow"
    longest = 2.0

    def begin(self):
        self.edge.link.tell(f"rate={self.rng.uniform(0.1, 2):.4f}")

    def end(self):
        self.edge.link.tell("rate=0")


class Truncate(Fault):
    """Connections end in the middle of frames."""

    name = "link truncates"
    longest = 0.3

    def begin(self):
        about = self.rng.choice([300, 3000, 30000])
        self.edge.link.tell(f"cut {about + self.rng.randint(-299, 300)}")


class Flip(Fault):
    name = "bits wrong"
    longest = 1.5

    def begin(self):
        self.edge.link.tell(f"flip={10 ** self.rng.uniform(-5.5, -3):.8f}")

    def end(self):
        self.edge.link.tell("flip=0")


# ---- the edge ---------------------------------------------------------------------


class EdgeKill(Fault):
    name = "edge kill -9"
    longest = 0.4

    def begin(self):
        self.edge.lines.end(signal.SIGKILL)

    def end(self):
        self.edge.start()


class EdgeStop(Fault):
    """Shorter, or long enough to be found dead."""

    name = "edge stopped"
    longest = DEAD_S

    def __init__(self, *args):
        super().__init__(*args)
        if self.rng.random() < 0.5:
            self.seconds += DEAD_S + 1.2
            self.finds = "cloud"

    def begin(self):
        self.edge.lines.signal(signal.SIGSTOP)

    def end(self):
        self.edge.lines.signal(signal.SIGCONT)


def fill(store):
    try:
        with open(store / "filler", "wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
    except OSError:
        pass


class EdgeDisk(Fault):
    """Comes up with a store that is empty and cannot take the model."""

    name = "edge's disk full"
    numbers = DISKED
    longest = 1.0
    ends = True

    def begin(self):
        self.edge.lines.end(signal.SIGKILL)
        shutil.rmtree(self.edge.store / "models", ignore_errors=True)
        fill(self.edge.store)
        self.edge.start()

    def end(self):
        (self.edge.store / "filler").unlink()


class EdgeClock(Fault):
    name = "edge's clock jumps"
    numbers = CLOCKED
    longest = 0.5

    def begin(self):
        jump = self.rng.choice([-86400 * 400, -3600, -7, 5, 3600, 86400 * 400])
        self.edge.clock.set(f"{jump:+d}")


class Names(Fault):
    """The link breaks, and the cloud's name is not known for a while."""

    name = "name unknown"
    numbers = NAMED

    def begin(self):
        self.edge.hosts.set(False)
        self.edge.link.tell("reset")

    def end(self):
        self.edge.hosts.set(True)


# ---- the cloud: all its edges ---------------------------------------------------


class CloudFault(Fault):
    @property
    def cloud(self):
        return self.edge.cloud

    def end(self):
        self.cloud.start()


class CloudKill(CloudFault):
    name = "cloud kill -9"
    longest = 0.8

    def begin(self):
        self.cloud.lines.end(signal.SIGKILL)


class CloudTerm(CloudFault):
    name = "cloud drains"
    longest = 0.5

    def begin(self):
        status = self.cloud.lines.end(signal.SIGTERM)
        if status != 0:
            raise RuntimeError(f"cloud {self.cloud.name} ended with {status} after SIGTERM")


class CloudStop(CloudFault):
    """Long enough to be found dead."""

    name = "cloud stopped"
    finds = "edge"

    def __init__(self, *args):
        super().__init__(*args)
        self.seconds += DEAD_S + 1.2

    def begin(self):
        self.cloud.lines.signal(signal.SIGSTOP)

    def end(self):
        self.cloud.lines.signal(signal.SIGCONT)


class CloudClock(CloudFault):
    name = "cloud's clock jumps"
    longest = 0.5

    def begin(self):
        jump = self.rng.choice([-86400 * 400, -3600, -7, 5, 3600, 86400 * 400])
        self.cloud.clock.set(f"{jump:+d}")

    def end(self):
        pass


class CloudReplaced(CloudFault):
    """By another, with another model, on the same port."""

    name = "cloud replaced"
    longest = 0.3

    def begin(self):
        self.cloud.lines.end(signal.SIGKILL)
        self.world.put_models(1 - self.world.bias)


class ModelReplaced(CloudFault):
    """While all run; where the disk is full, the old one has to do."""

    name = "new model, disk full"

    def begin(self):
        if self.edge.disk:
            fill(self.edge.store)
        self.world.put_models(1 - self.world.bias)

    def end(self):
        if self.edge.disk:
            (self.edge.store / "filler").unlink()


EDGE_KINDS = [Cut, Outage, Stall, Vanish, Throttle, Truncate, Flip, EdgeKill, EdgeStop]
EDGE_KINDS += [EdgeDisk, EdgeClock, Names]
CLOUD_KINDS = [CloudKill, CloudTerm, CloudStop, CloudClock, CloudReplaced]
CLOUD_KINDS += [ModelReplaced]


def possible(world):
    """The kinds that can be tried here."""
    kinds = EDGE_KINDS + CLOUD_KINDS
    if not world.has_faketime:
        kinds = [k for k in kinds if k not in (EdgeClock, CloudClock)]
    if not world.is_root:
        kinds = [k for k in kinds if k not in (EdgeDisk, Names)]
    elif not all(world.edges[n].disk for n in DISKED):
        kinds = [k for k in kinds if k is not EdgeDisk]
    return kinds


class Planner:
    """Rounds of faults that do not meet: no two on one edge."""

    def __init__(self, world, count, rng):
        self.world, self.rng = world, rng
        kinds = possible(world)
        deck = []
        while len(deck) < count:
            shuffled = list(kinds)
            rng.shuffle(shuffled)
            deck += shuffled
        self.deck = deck[:count]

    def _edges_for(self, kind, free):
        """Edges that it takes, all of them free; or None."""
        if kind in CLOUD_KINDS:
            sides = [set(range(EDGES)) - set(DIGITS)]
            if kind in (CloudKill, CloudTerm, CloudStop):
                sides.append(set(DIGITS))
            sides = [side for side in sides if side <= free]
            return sorted(self.rng.choice(sides)) if sides else None
        able = sorted(set(kind.numbers) & free)
        return [self.rng.choice(able)] if able else None

    def rounds(self):
        deck = list(self.deck)
        while deck:
            free, chosen, kept = set(range(EDGES)), [], []
            for position, kind in enumerate(deck):
                edges = self._edges_for(kind, free) if position < 12 and len(chosen) < 4 else None
                if edges is None:
                    kept.append(kind)
                    continue
                free -= set(edges)
                chosen.append(kind(self.world, [self.world.edges[n] for n in edges], self.rng))
            deck = kept
            yield chosen


def now():
    return time.monotonic()
