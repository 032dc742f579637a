"""Log-mel to waveform without a trained model."""

import torch
from torch import Tensor, nn

from speech.nn.istft import InverseSTFT
from speech.nn.mel import LogMel
from speech.nn.mel_config import MelConfig
from speech.nn.spectrum import FFTSpectrum

MOMENTUM = 0.99


class GriffinLim(nn.Module):
    """Log-mels [B, T, F] -> waveforms [B, T hop], the same at every call; phasey, for tests and as a fallback.

    Magnitudes by the pseudo-inverse of the mel bank, phases by the fast algorithm (Perraudin, Balazs and Sondergaard
    2013) from random ones that are the same in every row.
    """

    unmel: Tensor  # [n_fft/2+1, F]

    def __init__(self, config: MelConfig, iterations: int = 32):
        super().__init__()
        self.iterations = iterations
        self.mel = LogMel(config)
        self.inverse = InverseSTFT(config.n_fft, config.hop, config.win, config.edge)
        self.register_buffer("unmel", torch.linalg.pinv(self.mel.bank.double()).float(), persistent=False)

    def transform(self, waveforms: Tensor) -> Tensor:  # [B, T hop] -> [B, T, n_fft/2+1] complex
        assert isinstance(self.mel.spectrum, FFTSpectrum)
        lengths = torch.full((len(waveforms),), waveforms.size(1), device=waveforms.device)
        return self.mel.spectrum.transform(self.mel.reflected(waveforms, lengths))

    @torch.no_grad()
    def forward(self, mels: Tensor) -> Tensor:
        magnitude = (mels.float().exp() @ self.unmel.T).clamp(min=0)
        generator = torch.Generator().manual_seed(0)
        turns = torch.rand(magnitude.shape[1:], generator=generator).to(mels.device)
        spectrum = magnitude * torch.exp(2j * torch.pi * turns)
        before = torch.zeros_like(spectrum)
        for _ in range(self.iterations):
            rebuilt = self.transform(self.inverse(spectrum.real, spectrum.imag))
            ahead = rebuilt - MOMENTUM / (1 + MOMENTUM) * before
            spectrum, before = magnitude * ahead / ahead.abs().clamp(min=1e-16), rebuilt
        return self.inverse(spectrum.real, spectrum.imag)
