"""The table of a registered model's versions."""

import io

import pytest
from rich.console import Console

from sweeps.cli.models import versions_table
from sweeps.promotion.entities import Version


@pytest.mark.parametrize("width", [20, 80])
def test_nothing_is_cut_on_a_narrow_terminal(width: int) -> None:
    tags = {
        "sweep.metric": "test/ssim",
        "sweep.test": "0.755123",
        "sweep.mean": "0.767721",
        "sweep.spread": "0.002812",
        "sweep.name": "quickstart",
        "sweep.trial": "0008-afa899b8",
        "sweep.decision": "passed the gate",
    }
    versions = [Version(12, frozenset({"champion"}), tags, 1_795_574_832_205)]
    out = io.StringIO()
    Console(file=out, width=width).print(versions_table("vqvae-quickstart", versions))
    text = " ".join(out.getvalue().split())
    assert "…" not in text
    for shown in ("12", "champion", "0.7551", "0.7677 ± 0.0028", "0008-afa899b8", "registered"):
        assert shown in text
