"""A bigger student to follow, beyond its labels: its hidden states, batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor

from clin_edge.core.errors import InputError
from clin_edge.distill.optimization import mixed_precision
from clin_edge.distill.student import Student


class Guide:
    """Gives a bigger student's last hidden states for the smaller one's batches."""

    def __init__(self, teacher: Student, student: Student, device: torch.device) -> None:
        """Hold the teacher, which is not trained.

        Raises:
            InputError: If the two do not cut text into the same pieces.
        """
        if teacher.tokenizer_json != student.tokenizer_json:
            raise InputError(
                "hidden states can be matched only where both students have the same tokenizer; "
                "set hidden_weight to 0, or start both from encoders that share one"
            )
        self._model = teacher.model.base_model.to(device).eval()
        self.width: int = teacher.model.config.hidden_size

    @torch.no_grad()
    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Give the last hidden states (B, T, H)."""
        with mixed_precision(input_ids.device):
            out = self._model(input_ids=input_ids, attention_mask=attention_mask)
        states: Tensor = out.last_hidden_state
        return states
