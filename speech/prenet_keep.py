"""Which units of the pre-net stay while a Transformer TTS speaks: the same in torch and in onnxruntime."""

import numpy as np


def prenet_keep(steps: int, width: int, dropout: float, seed: int) -> np.ndarray:
    """[steps, 2, W] True where a unit stays. More steps of a seed begin with the same ones."""
    return np.random.default_rng(seed).random((steps, 2, width), np.float32) >= dropout
