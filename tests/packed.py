"""What every bundle in the package must keep to."""

from __future__ import annotations

from collections.abc import Mapping

from clin_edge.core.bundle import Bundle


def check_claims(bundle: Bundle, *, max_mb: float, floors: Mapping[str, float]) -> None:
    """It is small and in 8 bits, its scores are above the floors, and its card names all of it."""
    assert sum(map(len, bundle.files.values())) < max_mb * 1e6
    assert bundle.manifest.precision == "int8"
    assert bundle.manifest.quantization["openvino"]["share_of_numbers_in_8_bits"] > 0.95
    stated = bundle.manifest.scores["bc5cdr test"]["int8"]["labels"]
    for label, floor in floors.items():
        assert stated[label]["f1"] >= floor
    card = bundle.files["MODEL_CARD.md"].decode()
    assert all(source["name"] in card for source in bundle.manifest.sources)
    assert "## Behaviour" in card
