from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from tiny_cuts import cut_of
from tiny_voice import MEL, PLAIN, TOKENIZER, fastspeech, parts

from recipes.distill import main
from speech.data.arrays import Arrays
from speech.data.manifests import load_audio, open_manifest, save_manifest
from speech.errors import SpeechError
from speech.models.transformer_tts import TransformerTTS
from speech.models.transformer_tts_losses import extract_durations
from speech.models.tts_generate import Generated, generate
from speech.models.voice_sound import VoiceSound
from speech.nn.transformer_tts_config import GenerateOptions, TransformerTTSConfig
from speech.voice_folder import load_voice, save_voice

COUNTS = {"train": 9, "dev": 4}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Noises with phonemes of several lengths, and a teacher of random weights that stops in some of them."""
    folder, rng = tmp_path_factory.mktemp("distill"), np.random.default_rng(0)
    for split, count in COUNTS.items():
        cuts = []
        for i in range(count):
            name, text = f"{split}-{i}", " ".join(rng.choice([*"abcdefgh"], size=int(rng.integers(3, 9))))
            cuts.append(cut_of(folder, name, 0.1 * rng.standard_normal(int(rng.integers(1500, 3000))), 8000, text))
        save_manifest(cuts, folder / f"{split}.jsonl")
    voice = parts(speakers=(), languages=("de",), kind="phonemes")
    torch.manual_seed(3)
    sizes = dict(d_model=16, n_heads=2, encoder_layers=1, decoder_layers=2, d_ff=32, encoder_convs=1, prenet_width=8)
    config = TransformerTTSConfig(MEL, **sizes, postnet_layers=2, postnet_channels=8, reduction=2)
    teacher = TransformerTTS(config, TOKENIZER.size).eval()
    teacher.stop.weight.data.normal_()
    teacher.stop.bias.data.fill_(-5.0)
    teacher.mel_mean.normal_()
    teacher.mel_std.uniform_(0.5, 2.0)
    teacher.frames_per_phoneme.fill_(3.0)
    for layer in teacher.decoder:
        layer.cross.out.weight.data.mul_(4)
        layer.cross.q.weight.data.mul_(8)  # sharp
    save_voice(folder / "teacher", teacher, voice)
    save_voice(folder / "student", fastspeech(PLAIN), voice)
    return folder


def distill(corpus: Path, out: Path, *flags: str, teacher: str = "teacher") -> None:
    splits = [word for split in COUNTS for word in (f"--{split}", str(corpus / f"{split}.jsonl"))]
    main([str(corpus / teacher), *splits, "--out", str(out), "--device", "cpu", *flags])


def alone(corpus: Path) -> dict[str, tuple[Generated, torch.Tensor]]:
    """What the teacher says to each text by itself, and its phonemes."""
    voice, found = load_voice(corpus / "teacher"), {}
    for cut in (cut for split in COUNTS for cut in open_manifest(corpus / f"{split}.jsonl")):
        ids = torch.tensor([[1, *TOKENIZER.encode(cut.supervisions[0].text), 2]])
        options = GenerateOptions(with_attention=True)
        (made,) = generate(voice.model, ids, torch.tensor([ids.size(1)]), [3.0 * ids.size(1)], options)
        found[cut.id] = made, ids
    return found


def test_mels_and_durations_are_those_of_sentences_that_end_and_are_sharp(corpus, tmp_path):
    model, said, wanted = load_voice(corpus / "teacher").model, alone(corpus), {}
    focus = {}
    for name, (made, _) in said.items():
        length = torch.tensor([len(made.mel)])
        wanted[name] = extract_durations(list(made.attention[:, None]), length, 2)
        focus[name] = float(wanted[name].focus[0])
    limit = float(np.mean(sorted(focus.values())[5:7]))
    kept = {name for name, (made, _) in said.items() if made.ended and focus[name] >= limit}
    assert 2 < len(kept) < sum(made.ended for made, _ in said.values()) < 13
    distill(corpus, tmp_path, "--min_focus", str(limit))
    durations, mels = Arrays(tmp_path / "durations.npz"), Arrays(tmp_path / "mels.npz")
    assert set(durations) == set(mels) == kept
    for name in kept:
        made, ids = said[name]
        assert durations[name].shape == (ids.size(1),) and durations[name].sum() == len(mels[name])
        assert durations[name].tolist() == wanted[name].frames[0].tolist()
        natural = (made.mel * model.mel_std + model.mel_mean).numpy()
        np.testing.assert_allclose(mels[name], natural, atol=0.02)
    for split in COUNTS:
        before, after = open_manifest(corpus / f"{split}.jsonl"), open_manifest(tmp_path / f"{split}.jsonl.gz")
        assert [cut.id for cut in after] == [cut.id for cut in before if cut.id in kept]
        for cut in after:
            assert np.array_equal(load_audio(cut, 8000), load_audio(before[cut.id], 8000))


def test_durations_of_recordings_are_those_of_the_head_at_the_recordings_pace(corpus, tmp_path):
    distill(corpus, tmp_path, "--targets", "recordings", "--min_focus", "0", "--head", "-1", "0")
    voice, durations = load_voice(corpus / "teacher"), Arrays(tmp_path / "durations.npz")
    assert not (tmp_path / "mels.npz").exists() and len(durations) == sum(COUNTS.values())
    sound = VoiceSound(MEL)
    sound.mean.copy_(voice.model.mel_mean)
    sound.std.copy_(voice.model.mel_std)
    for name, (_, ids) in alone(corpus).items():
        x = torch.from_numpy(sf.read(corpus / f"{name}.wav", dtype="float32")[0])
        mel, frames = sound(x[None], torch.tensor([len(x)]))
        keep = voice.model.dropout_keep(-(-mel.size(1) // 2), 0)
        out = voice.model(ids, torch.tensor([ids.size(1)]), mel, frames, keep=keep)
        (wanted,) = extract_durations(out.attention, frames, 2, (1, 0)).frames
        assert durations[name].tolist() == wanted.tolist() and durations[name].sum() == len(x) // 64


def test_what_cannot_teach(corpus, tmp_path):
    told = r"train.jsonl: nothing to learn from this teacher, .*\d of a focus rate below --min_focus 1\.5"
    with pytest.raises(SpeechError, match=told):
        distill(corpus, tmp_path, "--min_focus", "1.5")
    with pytest.raises(SpeechError, match="student is no Transformer TTS voice"):
        distill(corpus, tmp_path, teacher="student")
    with pytest.raises(SpeechError, match="head 2,0: the decoder has 2 layers of 2 heads"):
        distill(corpus, tmp_path, "--head", "2", "0")
