"""A fleet with TLS: its keys, made by `kerf keygen`, its clouds and edges. What
the test_tls files share; each takes the fixtures that it needs as names of its
own."""

import shutil
import ssl
import subprocess

import exact
import pytest

FAKE = ("--engine", "fake")


@pytest.fixture(scope="session")
def made(kerf, tmp_path_factory):
    """A fleet's keys; nobody changes them: folders() gives copies."""
    place = tmp_path_factory.mktemp("fleet")

    def keygen(*args, keys="keys"):
        words = [kerf, "keygen", *map(str, args), "--keys", place / keys]
        subprocess.run(words, check=True, capture_output=True)

    for keys in ["keys", "others"]:
        keygen("authority", keys=keys)
        keygen("cloud", "127.0.0.1", "localhost", "::1", keys=keys)
        keygen("edge", "door-1", "door-2", keys=keys)
    keygen("edge", "old", "--from", "2020-01-01", "--days", 30)
    keygen("edge", "new", "--from", "2030-01-01")
    keygen("cloud", "127.0.0.1", "--name", "old-cloud", "--from", "2020-01-01", "--days", 30)
    keygen("cloud", "cloud.example", "--name", "away")
    return place


@pytest.fixture
def fleet(made, kerf, tmp_path):
    """fleet("edges/door-1") -> its folder; .keygen(...) changes the fleet."""
    shutil.copytree(made, tmp_path / "fleet")

    def folder(name, keys="keys"):
        return tmp_path / "fleet" / keys / name

    def keygen(*args):
        words = [kerf, "keygen", *map(str, args), "--keys", tmp_path / "fleet" / "keys"]
        subprocess.run(words, check=True, capture_output=True)

    folder.keygen = keygen
    folder.copy = lambda name, to: shutil.copytree(folder(name), tmp_path / to)
    return folder


@pytest.fixture
def cloud_of(start_cloud, tmp_path):
    def start(tls, *more, models="models", **how):
        if not (tmp_path / models).exists():
            exact.put(tmp_path / models)
        args = ("--tls", tls) if tls else ()
        return start_cloud(
            *FAKE, "--log", "info", "--models", tmp_path / models, *args, *more, **how
        )

    return start


@pytest.fixture
def edge_of(spawn, tmp_path):
    def start(port, tls, *more, count=3, **how):
        args = ("--tls", tls) if tls else ()
        return spawn(
            "edge", "--json", *FAKE, "--log", "info", "--cloud_port", port, "--store",
            tmp_path / "store", *args, *more, "--input",
            *exact.inputs(tmp_path / "in", count), **how,
        )  # fmt: skip

    return start


def client_of(ca, cert=None, versions=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca / "ca.crt")
    if cert:
        context.load_cert_chain(cert / "kerf.crt", cert / "kerf.key")
    if versions:
        context.maximum_version = versions
    return context
