"""The torch side of a search step: caches stay on the device, only scores cross to the host."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from speech.models.aed import AED, Encoded
from speech.nn.attention import KV
from speech.search.beam import Scores


class DecodeState(NamedTuple):
    cache: list[KV]  # self-attention, N rows
    memory: list[KV]  # cross-attention, N rows
    mask: Tensor  # [N, 1, 1, S]
    utterance: Tensor  # [N] utterance of each row


class TorchStep:
    """`first(prompts)` gives the scores after the prompt, then the object itself is the step of the search."""

    def __init__(self, model: AED, encoded: Encoded, with_attention: bool = False):
        self.model, self.encoded, self.with_attention = model, encoded, with_attention

    def _scores(self, logits: Tensor, attention: Tensor | None) -> Scores:
        # ids of the padded width belong to no token, but were in the softmax of the training
        known = logits[:, -1].log_softmax(-1)[:, : self.model.vocab_size]
        weights = attention[:, -1].float().cpu().numpy() if attention is not None else None
        return Scores(known.cpu().numpy(), attention=weights)

    @torch.inference_mode()
    def first(self, prompts: np.ndarray) -> tuple[Scores, DecodeState]:
        """prompts [B, P] -> scores [B, V] of the first text token."""
        e = self.encoded
        tokens = torch.from_numpy(prompts).to(e.encoded.device)
        out = self.model.decoder(tokens, e.memory, e.mask, with_attention=self.with_attention)
        rows = torch.arange(len(prompts), device=e.encoded.device)
        return self._scores(out.logits, out.attention), DecodeState(out.cache, e.memory, e.mask, rows)

    @torch.inference_mode()
    def __call__(self, tokens: np.ndarray, parents: np.ndarray, state: DecodeState) -> tuple[Scores, DecodeState]:
        """tokens [N], parents [N]: rows of the previous call that each row continues."""
        device = self.encoded.encoded.device
        rows = torch.from_numpy(parents).to(device)
        utterance = state.utterance[rows]
        cache = [KV(kv.k[rows], kv.v[rows]) for kv in state.cache]
        memory, mask = state.memory, state.mask
        if not torch.equal(utterance, state.utterance):  # beams opened or utterances finished
            memory = [KV(kv.k[rows], kv.v[rows]) for kv in memory]
            mask = mask[rows]
        new = torch.from_numpy(tokens).to(device)[:, None]
        out = self.model.decoder(new, memory, mask, cache, self.with_attention)
        return self._scores(out.logits, out.attention), DecodeState(out.cache, memory, mask, utterance)
