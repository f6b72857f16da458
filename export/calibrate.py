"""The windows a model is calibrated on, laid out as the runtime would."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clin_edge.core.batching import Batch, batches
from clin_edge.core.encode import Encoder
from clin_edge.core.notes import Note

N_WINDOWS = 300


def calibration_batches(
    notes: Sequence[Note], encoder: Encoder, *, n_windows: int = N_WINDOWS, seed: int = 0
) -> list[Batch]:
    """Draw windows from all the notes, each equally likely; one a batch, padded to its bucket."""
    windows = []
    for note in notes:
        encoded = encoder.encode(note)
        windows += [encoder.window_ids(encoded, window) for window in encoded.windows]
    order = np.random.default_rng(seed).permutation(len(windows))[:n_windows]
    chosen = [windows[i] for i in sorted(order.tolist())]
    return list(batches(chosen, longest=encoder.max_tokens, pad_id=encoder.pad_id, batch_tokens=1))
