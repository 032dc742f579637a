from pathlib import Path

import numpy as np
import pytest
import torch
from lhotse import MonoCut
from tiny_cuts import cut_of
from tiny_voice import FULL, MEL, PLAIN, TOKENIZER, fastspeech, parts, saved, transformer_tts

from recipes.predict_mels import main
from speech.data.arrays import Arrays, save_arrays
from speech.data.crops import CropStream
from speech.data.manifests import open_manifest, save_manifest
from speech.errors import DataError, SpeechError

TEXTS = {"train": ["h a l o", "w e l t", "g u t e n | t a g"], "dev": ["j a , g u t"]}
SPEAKERS, LANGUAGES = ("Anna", "Bo"), ("de", "fr")


def cut(folder: Path, name: str, text: str, frames: int, number: int) -> MonoCut:
    """Noise of so many frames and half a hop."""
    x = 0.1 * np.random.default_rng(number).standard_normal(frames * MEL.hop + MEL.hop // 2)
    who = {"speaker": SPEAKERS[number % 2], "language": LANGUAGES[number % 2]}
    return cut_of(folder, name, x, MEL.sample_rate, text, **who)


@pytest.fixture
def given(tmp_path) -> dict[str, dict[str, np.ndarray]]:
    """Manifests and arrays in `tmp_path`; returns the arrays."""
    rng, number = np.random.default_rng(0), 0
    arrays: dict[str, dict[str, np.ndarray]] = {"durations": {}, "pitch": {}, "energy": {}}
    for split, texts in TEXTS.items():
        cuts = []
        for text in texts:
            name, n = f"{split}-{number}", len(text.split()) + 2
            arrays["durations"][name] = rng.integers(1, 6, n)
            for kind in ("pitch", "energy"):
                arrays[kind][name] = rng.standard_normal(n).astype(np.float32)
            cuts.append(cut(tmp_path, name, text, int(arrays["durations"][name].sum()), number))
            number += 1
        save_manifest(cuts, tmp_path / f"{split}.jsonl")
    for kind, values in arrays.items():
        save_arrays(tmp_path / f"{kind}.npz", values.items())
    return arrays


def predict(folder: Path, voice: Path, *flags: str) -> Arrays:
    paths = [word for name in ("train", "dev") for word in (f"--{name}", str(folder / f"{name}.jsonl"))]
    main([str(voice), *paths, "--durations", str(folder / "durations.npz"), "--out", str(folder / "mels.npz"), *flags])
    return Arrays(folder / "mels.npz")


def prosody(folder: Path) -> list[str]:
    return ["--pitch", str(folder / "pitch.npz"), "--energy", str(folder / "energy.npz")]


@torch.no_grad()
@pytest.mark.parametrize("config", [PLAIN, FULL], ids=["plain", "full"])
def test_every_cut_has_the_mel_of_its_voice_at_its_own_pace(tmp_path, given, config):
    model = fastspeech(config)
    people = parts() if config is FULL else parts((), ("de",))
    mels = predict(tmp_path, saved(tmp_path / "voice", model, people), *(prosody(tmp_path) if config is FULL else []))
    cuts = [cut for split in TEXTS for cut in open_manifest(tmp_path / f"{split}.jsonl")]
    assert set(mels) == {cut.id for cut in cuts}
    for number, one in enumerate(cuts):
        ids = [TOKENIZER.bos_id, *TOKENIZER.encode(one.supervisions[0].text), TOKENIZER.eos_id]
        told = {
            name: torch.from_numpy(given[name][one.id])[None] for name in given if config is FULL or name == "durations"
        }
        if config is FULL:
            told |= {"speaker": torch.tensor([number % 2]), "language": torch.tensor([number % 2])}
        alone = model.denormalize(model(torch.tensor([ids]), torch.tensor([len(ids)]), **told).mel)[0]
        assert len(mels[one.id]) == one.num_samples // MEL.hop
        torch.testing.assert_close(torch.from_numpy(mels[one.id]).float(), alone, rtol=1e-3, atol=1e-3)  # float16


def test_a_vocoder_hears_them_with_their_sound(tmp_path, given):
    mels = predict(tmp_path, saved(tmp_path / "voice", fastspeech(PLAIN), parts((), ("de",))))
    stream = CropStream(
        list(open_manifest(tmp_path / "train.jsonl")), MEL.sample_rate, 5 * MEL.hop, MEL.hop, 4, 0, 3, mels=mels
    )
    for batch in stream:
        assert batch.mels is not None and batch.mels.shape == (4, 5, MEL.n_mels)


def test_files_that_do_not_fit_are_told(tmp_path, given):
    plain = saved(tmp_path / "plain", fastspeech(PLAIN), parts((), ("de",)))
    full = saved(tmp_path / "full", fastspeech(FULL), parts())
    with pytest.raises(SpeechError, match="full has model.energy: give --energy PATH, the one it was trained on$"):
        predict(tmp_path, full, *prosody(tmp_path)[:2])
    given["durations"]["train-1"][0] += 1
    save_arrays(tmp_path / "durations.npz", given["durations"].items())
    with pytest.raises(DataError, match="durations of .*train-1.* do not fit: make .*durations.npz anew$"):
        predict(tmp_path, plain)
    del given["durations"]["train-1"]
    save_arrays(tmp_path / "durations.npz", given["durations"].items())
    with pytest.raises(DataError, match="durations.npz: nothing for cut train-1; make it anew for this manifest$"):
        predict(tmp_path, plain)
    with pytest.raises(SpeechError, match="teacher is no FastSpeech voice: only one speaks at the pace of given"):
        predict(tmp_path, saved(tmp_path / "teacher", transformer_tts(), parts((), ("de",))))
