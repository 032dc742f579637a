"""Global feature statistics for the front end."""

from collections.abc import Iterable

import torch
from lhotse.cut import Cut
from torch import Tensor

from speech.data.manifests import load_audio
from speech.nn.frontend import Frontend


@torch.no_grad()
def feature_statistics(frontend: Frontend, cuts: Iterable[Cut]) -> tuple[Tensor, Tensor]:
    """Mean and inverse standard deviation [F] per bin over the frames of the cuts."""
    total, squares = (torch.zeros(frontend.config.n_mels, dtype=torch.float64) for _ in range(2))
    count = 0
    for cut in cuts:
        x = torch.from_numpy(load_audio(cut, frontend.config.sample_rate))[None]
        length = torch.tensor([x.size(1)])
        features = frontend.log_mel(x, length)[0, : int(frontend.frames(length))].double()
        total, squares, count = total + features.sum(0), squares + (features**2).sum(0), count + len(features)
    mean = total / count
    variance = (squares / count - mean**2).clamp(min=1e-10)
    return mean.float(), variance.rsqrt().float()
