"""Power spectrum of the frames of a waveform, in two forms with one result: an FFT to run, a convolution to export."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CACHED_FRAMES = 1024  # 2 MB; on an EPYC core 512 ... 1024 are best, and 3 times as fast as 20,000 (torch 2.11)


class FFTSpectrum(nn.Module):
    """Waveforms [B, samples] -> power [B, T, n_fft/2+1] of the windowed frames that lie wholly inside.

    With `preemphasis` every frame loses its mean and is emphasised by itself, as in Kaldi; its window must begin at 0.
    """

    window: Tensor  # [n_fft], zero from win on

    def __init__(self, window: Tensor, n_fft: int, hop: int, preemphasis: float | None = None):
        super().__init__()
        self.win, self.n_fft, self.hop, self.preemphasis = len(window), n_fft, hop, preemphasis
        self.register_buffer("window", F.pad(window.float(), (0, n_fft - self.win)), persistent=False)

    def transform(self, x: Tensor) -> Tensor:  # [B, samples] -> [B, T, n_fft/2+1] complex
        tail = self.n_fft - self.win  # frames cut at n_fft need no copy to be filled up with zeros
        if self.preemphasis is None:
            frames = F.pad(x, (0, tail)).unfold(1, self.n_fft, self.hop)
        else:
            # Emphasis of a frame less its mean m is the frame of the emphasised signal less (1 - preemphasis) m, but
            # for the first sample, which the window drops. The difference of neighbours is exact in quiet sound that
            # stands on a large offset, where x[n] - preemphasis * x[n-1] is not.
            rest = 1 - self.preemphasis
            emphasised = torch.add(x[:, 1:] - x[:, :-1], x[:, :-1], alpha=rest)
            mean = x.unfold(1, self.win, self.hop).mean(-1, keepdim=True)
            frames = F.pad(emphasised, (1, tail)).unfold(1, self.n_fft, self.hop) - rest * mean
        return torch.fft.rfft(frames * self.window)

    def power(self, x: Tensor) -> Tensor:  # [B, samples] -> [B, T, n_fft/2+1]
        squares = torch.view_as_real(self.transform(x)).square()  # abs() would take roots only to square them again
        return squares[..., 0] + squares[..., 1]

    def forward(self, x: Tensor) -> Tensor:
        frames = (x.size(1) - self.win) // self.hop + 1
        # All frames of a batch would leave the cache of a CPU between one operation and the next.
        block = max(1, CACHED_FRAMES // len(x)) if x.device.type == "cpu" else frames
        parts = (x[:, i * self.hop : (i + block - 1) * self.hop + self.win] for i in range(0, frames, block))
        return torch.cat([self.power(part) for part in parts], 1)

    def convolutional(self) -> "ConvSpectrum":
        """The same power within the rounding of float32."""
        impulses = torch.eye(self.win, dtype=torch.float64, device=self.window.device)
        response = self.transform(impulses)[:, 0].T  # [n_fft/2+1, win]: all before the power is linear in the frame
        return ConvSpectrum(torch.cat([response.real, response.imag]).float(), self.hop)


class ConvSpectrum(nn.Module):
    """Waveforms [B, samples] -> power [B, T, n_fft/2+1], all before the power folded into one convolution.

    The form for export, see `Frontend.convolutional`; on a CPU it takes about four times as long.
    """

    kernel: Tensor  # [2 (n_fft/2+1), 1, win]: real rows, then imaginary rows

    def __init__(self, kernel: Tensor, hop: int):
        super().__init__()
        self.hop = hop
        self.register_buffer("kernel", kernel[:, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        real, imaginary = F.conv1d(x[:, None], self.kernel, stride=self.hop).chunk(2, 1)
        return (real * real + imaginary * imaginary).transpose(1, 2)
