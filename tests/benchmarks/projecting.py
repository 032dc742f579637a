"""The step of a search without caches of keys and values: what the decoders are measured against."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from speech.models.aed import AED
from speech.nn.masks import causal_mask
from speech.search.beam import Scores


class State(NamedTuple):
    inputs: list[Tensor]  # of every layer, [N, U, C]
    utterance: np.ndarray  # [N] of each row
    source: Tensor  # [N, T, C]


class Projecting:
    """Keeps the inputs of every layer, runs each layer on the new position only, and projects the keys and values of
    all positions and of the encoder's output again, for each beam: as FireRedASR's public code does. The utterances
    have no padding, whose mask would cost it more."""

    def __init__(self, model: AED, encoded: Tensor):
        """encoded [B, T, C]"""
        self.model, self.source = model, model.enc_proj(encoded)

    @torch.inference_mode()
    def first(self, prompts: np.ndarray) -> tuple[Scores, State]:
        """prompts [B, P] -> scores [B, V] of the first text token."""
        rows, width = np.arange(len(prompts)), self.model.config.decoder.d_model
        nothing = [self.source.new_empty(len(rows), 0, width)] * len(self.model.decoder.layers)
        return self._run(prompts, State(nothing, rows, self.source))

    @torch.inference_mode()
    def __call__(self, tokens: np.ndarray, parents: np.ndarray, state: State) -> tuple[Scores, State]:
        """tokens [N], parents [N]: rows of the previous call that each row continues."""
        if not np.array_equal(parents, np.arange(len(state.utterance))):
            rows, utterance = torch.from_numpy(parents), state.utterance[parents]
            source = state.source
            if not np.array_equal(utterance, state.utterance):  # the first step of a beam, or utterances finished
                source = self.source[torch.from_numpy(utterance)]
            state = State([x[rows] for x in state.inputs], utterance, source)
        return self._run(tokens[:, None], state)

    def _run(self, tokens: np.ndarray, state: State) -> tuple[Scores, State]:
        decoder, inputs = self.model.decoder, []
        before, new = state.inputs[0].size(1), tokens.shape[1]
        mask = causal_mask(new, before + new, self.source.device) if new > 1 else None
        x = decoder._embed(torch.from_numpy(tokens), before)
        for layer, kept in zip(decoder.layers, state.inputs, strict=True):
            inputs.append(torch.cat([kept, x], 1))
            normed = layer.self_norm(inputs[-1])
            x = x + layer.attn(normed[:, -new:], layer.attn.project_kv(normed), mask)
            x = x + layer.cross(layer.cross_norm(x), layer.cross.project_kv(state.source))
            x = x + layer.ff(x)
        weight = decoder.embed.weight if decoder.head is None else decoder.head.weight
        logits = torch.nn.functional.linear(decoder.norm(x[:, -1]), weight, decoder.head_bias)
        log_probs = logits.log_softmax(-1)[:, : self.model.vocab_size]
        return Scores(log_probs.numpy()), State(inputs, state.utterance, state.source)
