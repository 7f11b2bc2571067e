"""The base model of the tests. It is committed, in fixtures/base, for another processor would pretrain another one.

`python -m tests.pretrained SEED OUT` pretrains one; with PRERL_TEST_BASE=OUT/model the tests use that instead.
"""

import os
import sys
from pathlib import Path

import torch

from prerl.base.pretrain import pretrain
from prerl.settings.scale import Scale, load_scale
from tests.helpers import SMOKE_FILE, changed, small_scale

MODEL = Path(os.environ.get("PRERL_TEST_BASE") or Path(__file__).parent / "fixtures/base")


def wide_scale() -> Scale:
    """What the base is pretrained with: the smoke scale, with heads as wide as vLLM's attention on a CPU needs them."""
    scale = small_scale(load_scale(SMOKE_FILE))
    wide = changed(scale.model, num_attention_heads=2, num_key_value_heads=1, head_dim=32)
    return changed(scale, model=wide, pretrain=changed(scale.pretrain, steps=1500))


if __name__ == "__main__":
    torch.set_num_threads(1)
    pretrain(wide_scale(), int(sys.argv[1]), Path(sys.argv[2]))
