"""Free running generation of the Transformer TTS, many sentences at once."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from speech.models.transformer_tts import Memory, TransformerTTS
from speech.nn.transformer_tts_config import GenerateOptions, resolve_heads


@dataclass(frozen=True)
class Generated:
    mel: Tensor  # [T, F] normalised, after the post-net
    ended: bool  # False: no stop came before the cap, and the mel is cut there
    attention: Tensor | None  # [L, H, T/r, N] cross-attention on the host, if asked for


class Window:
    """Masks that keep chosen heads between `back` before and `forward` after the furthest phoneme each has reached."""

    def __init__(self, model: TransformerTTS, memory: Memory, options: GenerateOptions):
        layers, n_heads, device = model.config.decoder_layers, model.config.n_heads, memory.mask.device
        chosen = resolve_heads("window_heads", options.window_heads, layers, n_heads)
        self.options, self.real = options, memory.mask  # [B, 1, 1, N]
        self.free = torch.ones(layers, n_heads, 1, dtype=torch.bool, device=device)
        for layer, head in chosen:
            self.free[layer, head] = False
        self.phonemes = torch.arange(memory.mask.size(3), device=device)
        self.furthest = torch.zeros(len(self.real), layers, n_heads, dtype=torch.long, device=device)

    def masks(self) -> list[Tensor]:
        """[B, H, 1, N] per layer."""
        ahead = self.phonemes - self.furthest[..., None]  # [B, L, H, N]
        near = (ahead >= -self.options.window_back) & (ahead <= self.options.window_forward)
        return list(((near | self.free)[..., None, :] & self.real[:, None]).unbind(1))

    def advance(self, attention: list[Tensor]) -> None:
        """attention [B, H, 1, N] per layer."""
        self.furthest = torch.maximum(self.furthest, torch.stack(attention, 1)[..., 0, :].argmax(-1))


@torch.inference_mode()
def generate(
    model: TransformerTTS,
    phonemes: Tensor,
    lengths: Tensor,
    expected_frames: list[float],
    options: GenerateOptions,
    speaker: Tensor | None = None,
) -> list[Generated]:
    """phonemes [B, N], expected mel frames of each -> a mel of each, the same as if each came alone."""
    assert not model.training
    r, batch = model.config.reduction, len(phonemes)
    caps = [max(1, math.ceil(options.max_times_expected * frames / r)) for frames in expected_frames]
    memory = model.encode(phonemes, lengths, speaker)
    keep = None if options.seed is None else model.dropout_keep(max(caps), options.seed)
    window = Window(model, memory, options) if options.window_heads else None
    with_attention = options.with_attention or window is not None
    frame = model.stop.weight.new_zeros(batch, model.config.mel.n_mels)
    cache = None
    steps, ended = [0] * batch, [False] * batch  # steps is 0 while a sentence goes on
    mels: list[Tensor] = []
    attention: list[Tensor] = []
    for t in range(max(caps)):
        masks = window.masks() if window else None
        now = None if keep is None else keep[t : t + 1]
        out = model.decode(frame[:, None], memory, cache, now, masks, with_attention)
        if window:
            window.advance(out.attention)
        mels.append(out.mel)
        if options.with_attention:
            attention.append(torch.stack(out.attention, 1).cpu())  # [B, L, H, 1, N]
        for i, stopped in enumerate((out.stop[:, 0].sigmoid() > options.stop_threshold).tolist()):
            if not steps[i] and (stopped or t + 1 == caps[i]):
                steps[i], ended[i] = t + 1, stopped
        if all(steps):
            break
        cache, frame = out.cache, out.mel[:, -1].to(frame.dtype)
    mel = model.refine(torch.cat(mels, 1), torch.tensor(steps, device=phonemes.device) * r)
    pictures = torch.cat(attention, 3) if attention else None
    return [
        Generated(
            mel[i, : steps[i] * r],
            ended[i],
            pictures[i, :, :, : steps[i], : int(lengths[i])] if pictures is not None else None,
        )
        for i in range(batch)
    ]
