"""The same recogniser with wider feed-forward layers in its encoder: python tests/benchmarks/widen.py MODEL OUT D_FF

New units come as they are in a new model, but nothing is read of them yet: the texts stay, and training goes on from
there (Net2Net, Chen et al. 2015, arXiv 1511.05641, makes wider nets by copies of units instead).
"""

import sys
from copy import deepcopy

import torch

from speech.folder import load_folder, save_model
from speech.models.aed import AED


def widen(narrow: AED, d_ff: int) -> AED:
    config = deepcopy(narrow.config)
    config.encoder.d_ff = d_ff
    wide = AED(config, narrow.vocab_size).eval()
    weights = wide.state_dict()
    for name, old in narrow.state_dict().items():
        if old.shape != weights[name].shape and name.endswith("outer.weight"):
            weights[name].zero_()
        weights[name][tuple(map(slice, old.shape))] = old
    wide.load_state_dict(weights)
    return wide


@torch.inference_mode()
def main() -> None:
    loaded = load_folder(sys.argv[1])
    torch.manual_seed(0)
    wide = widen(loaded.model, int(sys.argv[3]))
    sound, lengths = 0.1 * torch.randn(2, 16000), torch.tensor([16000, 12000])
    a, b = (model.encode(sound, lengths).encoded for model in (loaded.model, wide))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-4)
    save_model(sys.argv[2], wide, loaded.tokenizer, loaded.generation)


if __name__ == "__main__":
    main()
