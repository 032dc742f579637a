"""Tiny recognisers in either style."""

import torch
from torch import nn

from speech.nn.config import AEDConfig, DecoderConfig, EncoderConfig, FrontendConfig

FIRERED = AEDConfig(
    FrontendConfig(kind="kaldi", n_mels=20, wave_scale=32768, low_hz=20, norm="global"),
    EncoderConfig(
        16, 2, 4, 32, "conv4", 4, qkv_norm=True, attn_bias=False, conv_mult=2, conv_kernel=7, conv_bias=False
    ),
    DecoderConfig(16, 2, 4, 32, "gelu", True, False, False, key_bias=False, head_bias=False),
)
CANARY = AEDConfig(
    FrontendConfig(kind="mel", n_mels=24, norm="utterance"),
    EncoderConfig(16, 2, 4, 32, "dw8", 4, conv_kernel=5, conv_norm="batch"),
    DecoderConfig(24, 2, 4, 32, vocab_pad=8),
)


def lively(model: nn.Module) -> nn.Module:
    """Evaluation mode with every bias, position bias and running statistic away from its initial zero or one."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if name.endswith(("bias", ".u", ".v_pos", "running_mean")):
            tensor.data.normal_(0, 0.3, generator=generator)
        elif name.endswith("running_var"):
            tensor.data.uniform_(0.5, 2, generator=generator)
    return model.eval()
