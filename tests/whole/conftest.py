import shutil

import pytest

from tests.helpers import ROOT


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what Snakemake reads, so that no results of the checkout count."""
    copy = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "workflow", copy / "workflow")
    shutil.copytree(ROOT / "paper", copy / "paper")
    shutil.copy(ROOT / "Snakefile", copy)
    return copy
