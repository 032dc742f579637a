"""Transformer TTS (arXiv 1809.08895): phonemes to mel frames, one function for training and single steps."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.errors import SpeechError
from speech.nn.attention import KV, Attention, append
from speech.nn.layers import FeedForward
from speech.nn.masks import causal_mask, length_mask, valid
from speech.nn.positions import sinusoid
from speech.nn.transformer_tts_config import TransformerTTSConfig
from speech.prenet_keep import prenet_keep


class TransformerTTSOut(NamedTuple):
    mel_before: Tensor  # [B, T, F] before the post-net
    mel: Tensor  # [B, T, F]
    stop: Tensor  # [B, T/r] logits, T/r rounded up
    attention: list[Tensor]  # cross-attention [B, H, T/r, N] per decoder layer


class Memory(NamedTuple):
    kv: list[KV]  # cross keys and values per decoder layer
    mask: Tensor  # [B, 1, 1, N]


class Decoded(NamedTuple):
    mel: Tensor  # [B, U * r, F] before the post-net, float32
    stop: Tensor  # [B, U] logits, float32
    cache: list[KV]  # self-attention keys and values per layer
    attention: list[Tensor]  # cross-attention [B, H, U, N] per layer, empty unless asked for


class ConvNorm(nn.Module):
    """Convolution, batch norm, activation, dropout: [B, T, C] -> [B, T, C'].

    Padding enters as zero, and has no part in the statistics: a batch gives what its rows hold, however long the rest.
    """

    def __init__(self, channels: int, out: int, kernel: int, act: nn.Module, dropout: float):
        super().__init__()
        self.conv = nn.Conv1d(channels, out, kernel, padding=kernel // 2, bias=False)
        self.norm, self.act, self.dropout = nn.BatchNorm1d(out), act, nn.Dropout(dropout)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """keep [B, T], True on real frames."""
        y = self.conv((x * keep[..., None]).transpose(1, 2))
        if self.training:
            y = y.transpose(1, 2)
            real = self.norm(y[keep])
            y = real.new_zeros(y.shape).masked_scatter(keep[..., None], real)
        else:
            y = self.norm(y).transpose(1, 2)
        return self.dropout(self.act(y))


class ScaledPositions(nn.Module):
    """x + alpha * sinusoid, alpha trained: phonemes and mels differ in scale (section "Scaled Positional Encoding")."""

    def __init__(self, dropout: float):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        positions = sinusoid(torch.arange(start, start + x.size(1), device=x.device), x.size(2))
        return self.dropout(x + self.alpha * positions.to(x.dtype))


class Residual(nn.Module):
    """Norm and skip around a sub-layer f: x + f(norm(x)), or norm(x + f(x)) as in the paper."""

    def __init__(self, config: TransformerTTSConfig, dropout: float):
        super().__init__()
        self.pre_norm = config.pre_norm
        self.norm, self.dropout = nn.LayerNorm(config.d_model), nn.Dropout(dropout)

    def enter(self, x: Tensor) -> Tensor:
        return self.norm(x) if self.pre_norm else x

    def leave(self, x: Tensor, y: Tensor) -> Tensor:
        return x + self.dropout(y) if self.pre_norm else self.norm(x + self.dropout(y))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward."""

    def __init__(self, config: TransformerTTSConfig):
        super().__init__()
        self.attn_skip, self.ff_skip = Residual(config, config.dropout), Residual(config, 0.0)
        self.attn = Attention(config.d_model, config.n_heads, key_bias=False)
        self.ff = FeedForward(config.d_model, config.d_ff, "relu", config.dropout)  # drops out its own result
        self.ff.norm = nn.Identity()  # type: ignore[assignment]  # ff_skip has it

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.attn_skip.enter(x)
        x = self.attn_skip.leave(x, self.attn(y, self.attn.project_kv(y), mask))
        return self.ff_skip.leave(x, self.ff(self.ff_skip.enter(x)))


class DecoderLayer(EncoderLayer):
    """Self-attention, cross-attention, feed-forward."""

    def __init__(self, config: TransformerTTSConfig):
        super().__init__(config)
        self.cross_skip = Residual(config, config.dropout)
        self.cross = Attention(config.d_model, config.n_heads, key_bias=False)

    def forward(  # type: ignore[override]
        self, x: Tensor, memory: KV, past: KV | None, mask: Tensor | None, cross_mask: Tensor, with_attention: bool
    ) -> tuple[Tensor, KV, Tensor | None]:
        y = self.attn_skip.enter(x)
        kv = append(past, self.attn.project_kv(y))
        x = self.attn_skip.leave(x, self.attn(y, kv, mask))
        y = self.cross_skip.enter(x)
        weights = self.cross.weights(y, memory, cross_mask) if with_attention else None
        x = self.cross_skip.leave(x, self.cross(y, memory, cross_mask))
        return self.ff_skip.leave(x, self.ff(self.ff_skip.enter(x))), kv, weights


class Prenet(nn.Module):
    """Mel frame to decoder input through a bottleneck with dropout that stays on at generation, there by a mask."""

    def __init__(self, config: TransformerTTSConfig):
        super().__init__()
        width, self.p = config.prenet_width, config.prenet_dropout
        self.layers = nn.ModuleList([nn.Linear(config.mel.n_mels, width), nn.Linear(width, width)])
        self.out = nn.Linear(width, config.d_model)

    def forward(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """x [B, U, F]; keep [U, 2, W] True where a unit stays, for all rows; without it dropout is in training only."""
        for i, layer in enumerate(self.layers):
            x = F.relu(layer(x))
            x = F.dropout(x, self.p, self.training) if keep is None else x * keep[:, i] / (1 - self.p)
        return self.out(x)


class TransformerTTS(nn.Module):
    """`encode` once, then `decode` step by step; `forward` is the same in one pass over a known mel.

    Buffers: mean and deviation of the log-mels per bin, and the mel frames of a phoneme, from which the longest mel of
    a sentence follows.
    """

    mel_mean: Tensor
    mel_std: Tensor
    frames_per_phoneme: Tensor

    def __init__(self, config: TransformerTTSConfig, vocab_size: int):
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        d, k, r, drop = config.d_model, config.conv_kernel, config.reduction, config.conv_dropout
        self.embed = nn.Embedding(vocab_size, d)
        self.convs = nn.ModuleList(ConvNorm(d, d, k, nn.ReLU(), drop) for _ in range(config.encoder_convs))
        self.centre = nn.Linear(d, d)  # what leaves a ReLU is above 0, while sinusoids are centred on it
        self.encoder_positions = ScaledPositions(config.dropout)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.encoder_norm = nn.LayerNorm(d) if config.pre_norm else nn.Identity()
        self.speaker = nn.Embedding(config.n_speakers, d) if config.n_speakers > 1 else None
        self.prenet = Prenet(config)
        self.decoder_positions = ScaledPositions(config.dropout)
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.decoder_norm = nn.LayerNorm(d) if config.pre_norm else nn.Identity()
        self.mel = nn.Linear(d, r * config.mel.n_mels)
        self.stop = nn.Linear(d, 1)
        inner = [config.postnet_channels] * (config.postnet_layers - 1)
        widths = list(zip([config.mel.n_mels, *inner], [*inner, config.mel.n_mels], strict=True))
        acts = [*(nn.Tanh() for _ in inner), nn.Identity()]
        self.postnet = nn.ModuleList(ConvNorm(a, b, k, act, drop) for (a, b), act in zip(widths, acts, strict=True))
        self.register_buffer("mel_mean", torch.zeros(config.mel.n_mels))
        self.register_buffer("mel_std", torch.ones(config.mel.n_mels))
        self.register_buffer("frames_per_phoneme", torch.tensor(8.0))
        init_weights(self)

    def denormalize(self, mel: Tensor) -> Tensor:
        return mel * self.mel_std + self.mel_mean

    def encode(self, phonemes: Tensor, lengths: Tensor, speaker: Tensor | None = None) -> Memory:
        """phonemes [B, N], speaker [B] if there are several."""
        x, mask, keep = self.embed(phonemes), length_mask(lengths, phonemes.size(1)), valid(lengths, phonemes.size(1))
        for conv in self.convs:
            x = conv(x, keep)
        x = self.encoder_positions(self.centre(x))
        for layer in self.encoder:
            x = layer(x, mask)
        x = self.encoder_norm(x)
        if self.speaker is not None:
            if speaker is None:
                raise SpeechError(f"the model has {self.config.n_speakers} speakers: give one of them")
            x = x + self.speaker(speaker)[:, None]
        projected = (layer.cross.project_kv(x) for layer in self.decoder)  # type: ignore[union-attr, operator]
        return Memory([KV(kv.k.contiguous(), kv.v.contiguous()) for kv in projected], mask)

    def dropout_keep(self, steps: int, seed: int) -> Tensor:
        """[steps, 2, W] for `decode`: which pre-net units stay. More steps of a seed begin with the same ones."""
        keep = prenet_keep(steps, self.config.prenet_width, self.config.prenet_dropout, seed)
        return torch.from_numpy(keep).to(self.stop.weight.device)

    def decode(
        self,
        frames: Tensor,
        memory: Memory,
        cache: list[KV] | None = None,
        keep: Tensor | None = None,
        cross_masks: list[Tensor] | None = None,
        with_attention: bool = True,
    ) -> Decoded:
        """frames [B, U, F], each the last of the r frames before and zeros at the start, continue `cache` -> the next
        r frames of each; keep [U, 2, W] of the pre-net.

        cross_masks, one per layer, broadcast to [B, H, U, N] and replace the memory's own.
        """
        start, steps = cache[0].k.size(2) if cache else 0, frames.size(1)
        x = self.decoder_positions(self.prenet(frames, keep), start)
        mask = causal_mask(steps, start + steps, frames.device) if steps > 1 else None
        kept: list[KV] = []
        attention: list[Tensor] = []
        for i, layer in enumerate(self.decoder):
            cross_mask = cross_masks[i] if cross_masks else memory.mask
            x, kv, weights = layer(x, memory.kv[i], cache[i] if cache else None, mask, cross_mask, with_attention)
            kept.append(kv)
            attention += [weights] if with_attention else []
        x = self.decoder_norm(x)
        mel = self.mel(x).unflatten(2, (self.config.reduction, -1)).flatten(1, 2)  # [B, U, r * F] -> [B, U * r, F]
        return Decoded(mel.float(), self.stop(x)[..., 0].float(), kept, attention)

    def refine(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """Post-net: [B, T, F] -> [B, T, F]."""
        keep, y = valid(lengths, mel.size(1)), mel
        for conv in self.postnet:
            y = conv(y, keep)
        return mel + y.float()

    def forward(
        self,
        phonemes: Tensor,
        phoneme_lengths: Tensor,
        mel: Tensor,
        mel_lengths: Tensor,
        speaker: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> TransformerTTSOut:
        """phonemes [B, N], mel [B, T, F] normalised, both of any T; what lies past a row's length has no effect."""
        steps, r = -(-mel.size(1) // self.config.reduction), self.config.reduction
        before = F.pad(mel[:, r - 1 :: r][:, : steps - 1], (0, 0, 1, 0))  # [B, T/r, F], a zero frame first
        out = self.decode(before, self.encode(phonemes, phoneme_lengths, speaker), keep=keep)
        told = out.mel[:, : mel.size(1)]
        return TransformerTTSOut(told, self.refine(told, mel_lengths), out.stop, out.attention)


def init_weights(model: TransformerTTS) -> None:
    """Projections and convolutions keep torch's uniform init, with zero biases; embeddings have rows of length 1."""
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
