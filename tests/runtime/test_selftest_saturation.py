"""INT8 sums that overflow on CPUs without VNNI: found out by the self-test, cured by the fix.

Whether a machine overflows is asked of the machine; both kinds must pass.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clin_edge.core.batching import pad
from clin_edge.core.bundle import Bundle
from clin_edge.runtime.pipeline import open_session
from clin_edge.runtime.selftest import selftest
from saturating import FIXES, NOTES, SaturatingNumpy, saturating_bundle
from toy import toy_encoder

ENGINES = ("openvino", "onnxruntime")


def logits_are_right(bundle: Bundle, engine: str) -> bool:
    """Whether the logits are the float network's up to an eighth; half of it is lost if not."""
    encoder = toy_encoder()
    encoded = encoder.encode(NOTES[0])
    windows = [encoder.window_ids(encoded, window) for window in encoded.windows]
    batch = pad(windows, rows=range(len(windows)), length=16, pad_id=0)
    theirs = SaturatingNumpy().run(batch)
    ours = open_session(bundle, engine=engine, threads=1).run(batch)
    assert theirs.max() == 32
    return bool(np.abs(ours - theirs).max() < 4)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("overflow_fix", FIXES)
def test_wrong_answers_are_refused_and_the_fix_makes_them_right(
    engine: str, overflow_fix: str, tmp_path: Path
) -> None:
    bundle = saturating_bundle(tmp_path / "b", engine, overflow_fix)
    right = logits_are_right(bundle, engine)
    assert right or overflow_fix == "disable"
    (result,) = selftest(bundle, engine).engines
    assert result.passed == right
    assert result.golden is not None
    assert result.golden.expected > 40
    assert result.golden.passed == right
    if not right:  # every sum is halved, so nothing is found
        assert result.golden.found == 0
    # Wrong, but always equally wrong: only the golden notes find it out.
    assert result.invariance is not None
    assert result.invariance.passed
