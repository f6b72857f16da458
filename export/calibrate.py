"""The windows a model is calibrated on, laid out as the runtime would."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.batching import BUCKET_TOKENS, Batch, batches
from clin_edge.core.encode import Encoder
from clin_edge.core.notes import Note

N_WINDOWS = 300
_MIN_WINDOWS = 60
_N_WEIGHTS = 30_000_000  # up to here all windows are taken


def enough_windows(n_weights: int) -> int:
    """Give how many windows calibrate a model of this size: fewer for those that take long.

    Time to calibrate goes with windows times weights; answers hardly do with windows, from 30 to
    300 of them (``benchmarks/results/int8-settings.json``).
    """
    return max(_MIN_WINDOWS, min(N_WINDOWS, N_WINDOWS * _N_WEIGHTS // n_weights))


def calibration_batches(
    notes: Sequence[Note], encoder: Encoder, *, n_windows: int = N_WINDOWS
) -> list[Batch]:
    """Choose windows of all lengths and from all parts of the notes; one a batch, padded.

    Windows are ordered by length and, among equals, by where in its note each begins (a note's
    sections come in a usual order); evenly spaced ones are taken. So long and short windows, first
    and last sections have the share they have in the notes, and the same notes give the same ones.
    """
    windows: list[NDArray[np.int64]] = []
    order: list[tuple[int, float, int]] = []
    for note in notes:
        encoded = encoder.encode(note)
        for window in encoded.windows:
            ids = encoder.window_ids(encoded, window)
            order.append(
                (-(-len(ids) // BUCKET_TOKENS), window.start / len(encoded.ids), len(windows))
            )
            windows.append(ids)
    order.sort()
    n_chosen = min(n_windows, len(order))
    places = (np.arange(n_chosen) * 2 + 1) * len(order) // (2 * max(n_chosen, 1))
    chosen = [windows[order[place][2]] for place in places.tolist()]
    return list(batches(chosen, longest=encoder.max_tokens, pad_id=encoder.pad_id, batch_tokens=1))
