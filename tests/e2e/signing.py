"""Ed25519 keys and statements (docs/PROTOCOL.md, "Statement"), for signers that
misbehave. Honest ones are made by kerf sign."""

import base64
import ctypes
import json
import time
from hashlib import sha256

# The library that the product links: there is nothing to install.
_ssl = ctypes.CDLL("libcrypto.so.3")
_ED25519 = 1087
_pointer = ctypes.c_void_p
for _name in ("EVP_PKEY_new_raw_private_key", "EVP_MD_CTX_new"):
    getattr(_ssl, _name).restype = _pointer
_DOMAIN = b"kerf-statement-1\n"


class Key:
    """Made from 32 bytes, so that a seed makes the same one again."""

    def __init__(self, seed):
        self.seed = bytes(seed)
        self._pkey = _pointer(
            _ssl.EVP_PKEY_new_raw_private_key(_ED25519, None, self.seed, ctypes.c_size_t(32))
        )
        out = ctypes.create_string_buffer(32)
        size = ctypes.c_size_t(32)
        assert _ssl.EVP_PKEY_get_raw_public_key(self._pkey, out, ctypes.byref(size)) == 1
        self.public = out.raw
        self.id = sha256(self.public).digest()[:8]

    def sign(self, data):
        ctx = _pointer(_ssl.EVP_MD_CTX_new())
        out = ctypes.create_string_buffer(64)
        size = ctypes.c_size_t(64)
        assert _ssl.EVP_DigestSignInit(ctx, None, None, None, self._pkey) == 1
        got = _ssl.EVP_DigestSign(ctx, out, ctypes.byref(size), data, ctypes.c_size_t(len(data)))
        _ssl.EVP_MD_CTX_free(ctx)
        assert got == 1
        return out.raw

    def write(self, path):
        """path and path.pub."""
        for to, label, der in (
            (path, "PRIVATE", "302e020100300506032b657004220420" + self.seed.hex()),
            (f"{path}.pub", "PUBLIC", "302a300506032b6570032100" + self.public.hex()),
        ):
            body = base64.b64encode(bytes.fromhex(der)).decode()
            text = f"-----BEGIN {label} KEY-----\n{body}\n-----END {label} KEY-----\n"
            with open(to, "w") as file:
                file.write(text)
        path.chmod(0o600)
        return f"{path}.pub"


def date(seconds):
    """seconds from now."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def statement(model, bundle, version=1, issued=-60, expires=86400, rollback_from=None, **more):
    """Its text; issued and expires are seconds from now."""
    says = {
        "kerf_statement": 1,
        "model": model,
        "bundle": bundle.hex(),
        "version": version,
        "issued": date(issued),
        "expires": date(expires),
    }
    if rollback_from is not None:
        says["rollback_from"] = rollback_from
    return json.dumps({**says, **more})


def signed(key, text, /, **more):
    """The member of a manifest; more replaces what is in it."""
    sig = key.sign(_DOMAIN + text.encode())
    return {"statement": text, "signature": sig.hex(), "key": key.id.hex(), **more}


def put(folder, name, member):
    """The file beside a pair."""
    (folder / f"{name}.kerf.sig.json").write_text(json.dumps({"kerf_sig": 1, **member}))
