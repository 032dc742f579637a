"""Frames of a spectrum to waveform, in two forms with one result: an FFT to run, a convolution to export."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.nn.mel import hann


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """[B, T, n] -> [B, (T - 1) hop + n]: each frame begins `hop` samples after the one before."""
    t, n = frames.shape[1:]
    pieces = -(-n // hop)
    x = F.pad(frames, (0, pieces * hop - n)).unflatten(2, (pieces, hop))
    shifted = [F.pad(x[:, :, i], (0, 0, i, pieces - 1 - i)) for i in range(pieces)]
    return torch.stack(shifted).sum(0).flatten(1)[:, : (t - 1) * hop + n]


class InverseSTFT(nn.Module):
    """Real and imaginary parts [B, T, n_fft/2+1] -> waveforms [B, (T - 1) hop + n_fft - 2 trim], by least squares.

    The overlap of windowed inverse transforms over that of squared windows, as torch.istft, which trims n_fft / 2. With
    `keep` [B, T] frames where it is False count as not there, so that a row's end does not depend on its padding.
    """

    window: Tensor  # [n_fft]

    def __init__(self, n_fft: int, hop: int, win: int, trim: int):
        super().__init__()
        self.n_fft, self.hop, self.trim = n_fft, hop, trim
        self.register_buffer("window", hann(win, n_fft).float(), persistent=False)

    def overlap(self, real: Tensor, imaginary: Tensor) -> Tensor:  # [B, T, n_fft/2+1] twice -> [B, samples]
        return overlap_add(torch.fft.irfft(torch.complex(real, imaginary), self.n_fft) * self.window, self.hop)

    def envelope(self, keep: Tensor) -> Tensor:  # [B, T] -> [B, samples]
        return overlap_add(keep[..., None] * self.window**2, self.hop)

    def forward(self, real: Tensor, imaginary: Tensor, keep: Tensor | None = None) -> Tensor:
        if keep is None:
            keep = torch.ones_like(real[:1, :, 0])
        else:
            real, imaginary = real * keep[..., None], imaginary * keep[..., None]
        x = self.overlap(real, imaginary) / self.envelope(keep.to(real.dtype)).clamp(min=1e-8)
        return x[:, self.trim : x.size(1) - self.trim]

    def convolutional(self) -> "ConvInverseSTFT":
        """The same waveforms within the rounding of float32."""
        return ConvInverseSTFT(self)


class ConvInverseSTFT(InverseSTFT):
    """Inverse transform, window and overlap as one transposed convolution: exporters have no inverse FFT."""

    kernel: Tensor  # [2 (n_fft/2+1), 1, n_fft]: real rows, then imaginary rows

    def __init__(self, like: InverseSTFT):
        nn.Module.__init__(self)
        self.n_fft, self.hop, self.trim = like.n_fft, like.hop, like.trim
        n = like.n_fft
        angle = 2 * math.pi / n * torch.outer(torch.arange(n // 2 + 1), torch.arange(n)).remainder(n).double()
        twice = torch.full((n // 2 + 1, 1), 2.0, dtype=torch.float64)  # a bin stands for its mirror image too
        twice[0] = twice[-1] = 1.0
        kernel = torch.cat([twice * angle.cos(), -twice * angle.sin()]) / n * like.window.double().cpu()
        self.register_buffer("kernel", kernel.float()[:, None].to(like.window.device), persistent=False)
        self.register_buffer("window", like.window, persistent=False)

    def overlap(self, real: Tensor, imaginary: Tensor) -> Tensor:
        return F.conv_transpose1d(torch.cat([real, imaginary], 2).transpose(1, 2), self.kernel, stride=self.hop)[:, 0]

    def envelope(self, keep: Tensor) -> Tensor:
        return F.conv_transpose1d(keep[:, None], (self.window**2)[None, None], stride=self.hop)[:, 0]
