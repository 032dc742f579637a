"""Global feature statistics for the front end."""

from collections.abc import Iterable

import torch
from lhotse.cut import Cut
from torch import Tensor

from speech.data.manifests import load_audio
from speech.errors import AudioError, DataError
from speech.nn.frontend import Frontend


@torch.no_grad()
def feature_statistics(frontend: Frontend, cuts: Iterable[Cut]) -> tuple[Tensor, Tensor]:
    """Mean and inverse standard deviation [F] per bin over the frames of the cuts."""
    total, squares = (torch.zeros(frontend.config.n_mels, dtype=torch.float64) for _ in range(2))
    count, lost = 0, None
    for cut in cuts:
        try:
            x = torch.from_numpy(load_audio(cut, frontend.config.sample_rate))[None]
        except (AudioError, DataError) as error:  # training counts them, and stops if they are many
            lost = error
            continue
        length = torch.tensor([x.size(1)])
        features = frontend.log_mel(x, length)[0, : int(frontend.frames(length))].double()
        total, squares, count = total + features.sum(0), squares + (features**2).sum(0), count + len(features)
    if not count:
        raise DataError(f"not one cut could be read for the statistics of the features; the last one: {lost}")
    mean = total / count
    variance = (squares / count - mean**2).clamp(min=1e-10)
    return mean.float(), variance.rsqrt().float()
