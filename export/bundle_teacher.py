"""A bundle that teaches: what it says of each token, at the speed of the runtime."""

from __future__ import annotations

from pathlib import Path

from clin_edge.distill.soft import SoftTeacher
from clin_edge.runtime.pipeline import Pipeline


def bundle_teacher(folder: Path) -> SoftTeacher:
    """Make a bundle ready to be followed by a student; raises as ``Pipeline.from_bundle`` does."""
    pipeline = Pipeline.from_bundle(folder)
    bundle, predictor = pipeline.bundle, pipeline.predictor
    return SoftTeacher(predictor, bundle.manifest.scheme, predictor.crf, bundle.manifest_sha256)
