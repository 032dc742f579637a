from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from lhotse import MonoCut, Recording

from speech.data.arrays import Arrays, save_arrays
from speech.data.crops import CropStream
from speech.errors import DataError
from speech.nn.mel import LogMel
from speech.nn.mel_config import MelConfig

RATE = 8000
MEL = MelConfig(sample_rate=RATE, n_fft=256, win=256, hop=64, n_mels=20, high_hz=0.0)


def ramp_cut(folder: Path, name: str, seconds: float, level: float) -> MonoCut:
    """Sample i has the value level + i / 1e5: a crop tells where it is from."""
    x = (level + np.arange(round(seconds * RATE)) / 1e5).astype(np.float32)
    sf.write(folder / f"{name}.wav", x, RATE, subtype="FLOAT")
    return MonoCut(name, 0.0, seconds, 0, recording=Recording.from_file(folder / f"{name}.wav", recording_id=name))


@pytest.fixture
def cuts(tmp_path) -> list[MonoCut]:
    lengths = {"long": (3.0, 0.1), "short": (1.0, 0.5), "tiny": (0.1, 0.9)}
    return [ramp_cut(tmp_path, name, *values) for name, values in lengths.items()]


def stream(cuts, total: int | None = 40, **settings) -> CropStream:
    return CropStream(cuts, RATE, 1600, 64, 4, 1, total, **settings)  # crops of 0.2 s, 4 in a batch, seed 1


def same(ours, theirs) -> bool:
    pairs = list(zip(ours, theirs, strict=True))
    tensors = [(x, y) for a, b in pairs for x, y in ((a.waveforms, b.waveforms), (a.mels, b.mels))]
    return all(a.ids == b.ids and a.place == b.place for a, b in pairs) and all(
        x is y is None or torch.equal(x, y) for x, y in tensors
    )


def counted(cuts) -> dict[str, np.ndarray]:
    """Mels whose frame t holds t."""
    return {c.id: np.repeat(np.arange(round(c.duration * RATE) // 64)[:, None], 20, 1).astype(np.float16) for c in cuts}


def test_crops_are_pieces_of_their_cuts_in_proportion_to_length(cuts):
    batches = list(stream(cuts))
    ids = [i for batch in batches for i in batch.ids]
    assert len(ids) == 160 and set(ids) == {"long", "short"}  # tiny is shorter than a crop
    assert 100 < ids.count("long") < 140
    x = torch.cat([batch.waveforms for batch in batches])
    assert x.shape == (160, 1600) and torch.allclose(x.diff(dim=1), torch.tensor(1e-5), atol=1e-6)
    begins = np.array([float(row[0]) for row, name in zip(x, ids, strict=True) if name == "long"])
    assert begins.min() < 0.11 and begins.max() > 0.31  # 0 ... 2.8 s are 0.1 ... 0.324


def test_the_stream_goes_on_where_it_was(cuts):
    whole, rest = list(stream(cuts)), stream(cuts)
    rest.start, rest.consumed = (0, 0, 17), 17
    assert same(list(rest), whole[17:])


@pytest.mark.parametrize("settings", [{"cache_seconds": 1.0}, {"cache_seconds": 9.0}, {"workers": 2}])
def test_cache_and_loaders_change_nothing(cuts, settings):
    mels = counted(cuts)
    assert same(list(stream(cuts, mels=mels, **settings)), list(stream(cuts, mels=mels)))


def test_frames_are_those_of_the_samples(cuts):
    batches = list(stream(cuts, mels=counted(cuts)))
    for batch in batches:
        assert batch.mels is not None and batch.mels.shape == (4, 25, 20) and batch.mels.dtype == torch.float32
        level = torch.tensor([{"long": 0.1, "short": 0.5}[i] for i in batch.ids])
        begins = ((batch.waveforms[:, 0] - level) * 1e5).round()
        assert torch.equal(batch.mels[:, :, 0], begins[:, None] / 64 + torch.arange(25))
    at = torch.cat([batch.mels[:, 0, 0] for batch in batches if batch.mels is not None])
    assert at.min() < 20 and at.max() > 330 and len(at.unique()) > 50  # 3 s are 375 frames
    whole = list(stream(cuts, None, mels=counted(cuts)))
    assert [batch.mels[0, :, 0].tolist() for batch in whole] == [list(range(n)) for n in (375, 125, 12)]


def test_frames_at_the_edges_of_a_crop_are_those_of_the_whole_cut(cuts):
    mel = LogMel(MEL)
    noises = {c.id: 0.1 * torch.randn(1, round(c.duration * RATE)) for c in cuts}
    crops = stream(cuts, 5, mels={name: mel(x)[0].numpy() for name, x in noises.items()})
    crops.recordings.kept = {name: x[0].numpy() for name, x in noises.items()}
    for batch in crops:
        alone = mel(batch.waveforms)
        torch.testing.assert_close(batch.mels[:, 2:-2], alone[:, 2:-2], rtol=0, atol=1e-4)
        for edge in (0, -1):  # 96 samples beyond the crop are sound there, and mirrored here
            assert ((batch.mels - alone)[:, edge].abs().amax(1) > 0.1).all()


def test_a_cut_without_a_fitting_mel_is_named(cuts, tmp_path):
    mels = counted(cuts)
    mels["long"] = mels["long"][:-1]
    with pytest.raises(DataError, match="^cut long has 375 frames, its mel 374: make data.mels anew$"):
        list(stream(cuts, mels=mels))
    save_arrays(tmp_path / "mels.npz", [("long", mels["long"])])
    with pytest.raises(DataError, match="mels.npz: nothing for cut short; make it anew for this manifest$"):
        stream(cuts, mels=Arrays(tmp_path / "mels.npz"))


def test_another_seed_is_another_order(cuts):
    assert not same(list(CropStream(cuts, RATE, 1600, 64, 4, 2, 5)), list(stream(cuts, total=5)))


def test_the_cache_keeps_to_its_size(cuts):
    kept = stream(cuts, cache_seconds=3.5)
    list(kept)
    assert list(kept.recordings.kept) in (["long"], ["short"])


def test_dev_is_each_cut_once_in_whole_hops(cuts):
    batches = list(stream(cuts, total=None))
    assert [batch.ids for batch in batches] == [["long"], ["short"], ["tiny"]]
    assert [batch.waveforms.shape for batch in batches] == [(1, 24000), (1, 8000), (1, 768)]


def test_lost_audio_is_told_and_left_out(cuts, tmp_path):
    (tmp_path / "short.wav").unlink()
    batches = list(stream(cuts, mels=counted(cuts)))
    assert all(set(batch.ids) == {"long"} for batch in batches if batch.ids != ["silence"])
    assert {said.split(":")[0] for batch in batches for said in batch.lost} == {"short"}
    assert all(len(batch.ids) == len(batch.waveforms) == len(batch.mels) for batch in batches if batch.mels is not None)
    assert any(batch.mels is not None for batch in batches)
    assert all(len(batch.ids) + len(batch.lost) == 4 for batch in batches if batch.ids != ["silence"])


def test_no_cut_is_long_enough(cuts):
    with pytest.raises(DataError, match="^no cut is 4 s long: lower data.crop_samples 32000$"):
        CropStream(cuts, RATE, 32000, 64, 4, 1, 10)
