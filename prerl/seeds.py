"""Seeds by name."""

import hashlib


def seed_of(*names: object) -> int:
    """A seed for one purpose, e.g. `seed_of(seed, "rollout", step)`.

    Every random choice is a function of its names alone. So nothing random has to be saved to resume a run, and
    methods with the same seed meet the same problems at the same step.
    """
    return int.from_bytes(hashlib.sha256(repr(names).encode()).digest()[:6])
