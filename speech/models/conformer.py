"""Conformer encoder (arXiv 2005.08100) with Transformer-XL positions."""

from torch import Tensor, nn

from speech.nn.attention import RelativeAttention
from speech.nn.config import EncoderConfig
from speech.nn.conv import Conv4, ConvModule, Depthwise8
from speech.nn.layers import FeedForward
from speech.nn.masks import valid
from speech.nn.positions import relative_positions


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, layer norm."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        d = config.d_model
        self.ff1 = FeedForward(d, config.d_ff, "silu", config.dropout, config.ff_bias)
        self.attn_norm = nn.Identity() if config.qkv_norm else nn.LayerNorm(d)
        self.attn = RelativeAttention(d, config.n_heads, config.attn_bias, config.qkv_norm, config.attn_dropout)
        self.conv = ConvModule(config)
        self.ff2 = FeedForward(d, config.d_ff, "silu", config.dropout, config.ff_bias)
        self.norm = nn.LayerNorm(d)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, positions: Tensor, keep: Tensor) -> Tensor:  # [B, T, C], [2T-1, C], [B, T]
        x = x + 0.5 * self.ff1(x)
        x = x + self.dropout(self.attn(self.attn_norm(x), positions, keep[:, None, None]))
        x = x + self.dropout(self.conv(x, keep))
        x = x + 0.5 * self.ff2(x)
        return self.norm(x)


class Conformer(nn.Module):
    """Features [B, T, F], zero past their lengths -> encoded [B, T', C], lengths [B]."""

    def __init__(self, config: EncoderConfig, n_mels: int):
        super().__init__()
        self.d_model = config.d_model
        if config.subsampling == "conv4":
            self.subsampling = Conv4(n_mels, config.subsampling_channels, config.d_model, config.length_rule)
        else:
            self.subsampling = Depthwise8(n_mels, config.subsampling_channels, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(ConformerBlock(config) for _ in range(config.n_layers))

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x, lengths = self.subsampling(x, lengths)
        keep = valid(lengths, x.size(1))
        positions = self.dropout(relative_positions(x.size(1), self.d_model, x.device).to(x.dtype))
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, positions, keep)
        return x, lengths
