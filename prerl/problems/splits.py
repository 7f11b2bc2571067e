"""Which problems are trained on, chosen on, and tested on."""

import hashlib

SPLITS = {"train": range(0, 70), "dev": range(70, 80), "test": range(80, 100)}  # percentiles of the identity's hash


def split_of(identity: str) -> str:
    """train, dev or test, by a stable hash of a problem's identity: the same on every machine."""
    percentile = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8]) % 100
    return next(name for name, percentiles in SPLITS.items() if percentile in percentiles)
