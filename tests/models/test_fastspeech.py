import dataclasses
import json

import pytest
import torch
from tiny import lively

from speech.errors import SpeechError
from speech.models.aed import count_parameters
from speech.models.fastspeech import FastSpeech
from speech.models.length_regulator import scaled_durations
from speech.models.tts_losses import fastspeech_loss
from speech.nn.masks import valid
from speech.nn.mel_config import MelConfig
from speech.nn.tts_config import FastSpeechConfig

close = torch.testing.assert_close
PLAIN = FastSpeechConfig(
    mel=MelConfig(n_mels=5), d_model=16, encoder_layers=2, decoder_layers=2, d_ff=24, predictor_filters=12
)
FULL = dataclasses.replace(PLAIN, kernels=(9, 1), pitch=True, energy=True, n_speakers=3, n_languages=2)
CONFIGS = pytest.mark.parametrize("config", [PLAIN, FULL], ids=["plain", "full"])
SYMBOLS, LENGTHS = 11, torch.tensor([9, 14, 3])


def voice(config: FastSpeechConfig) -> FastSpeech:
    """Tiny, with predicted durations of about 5 frames."""
    model = lively(FastSpeech(config, SYMBOLS))
    model.duration.out.bias.data.fill_(1.6)
    return model


def batch(config: FastSpeechConfig) -> dict[str, torch.Tensor]:
    """What `forward` takes; the phonemes behind a length are noise."""
    keep = valid(LENGTHS, 16)
    made = {"phonemes": torch.randint(0, SYMBOLS, (3, 16)), "phoneme_lengths": LENGTHS}
    made["durations"] = torch.randint(1, 6, (3, 16)) * keep
    if config.pitch:
        made["pitch"] = torch.randn(3, 16) * keep * (torch.rand(3, 16) < 0.7)
    if config.energy:
        made["energy"] = torch.randn(3, 16) * keep
    return made | ids(config)


def ids(config: FastSpeechConfig) -> dict[str, torch.Tensor]:
    if config.n_speakers == 1:
        return {}
    return {"speaker": torch.tensor([2, 0, 1]), "language": torch.tensor([0, 1, 1])}


def row(values: dict[str, torch.Tensor], i: int) -> dict[str, torch.Tensor]:
    """Utterance i alone, without its padding."""
    n = int(LENGTHS[i])
    return {k: v[i : i + 1, :n] if v.ndim == 2 else v[i : i + 1] for k, v in values.items()}


def assert_batch_is_singles(together, alone: list) -> None:
    for i, single in enumerate(alone):
        n, frames = int(LENGTHS[i]), int(single.mel_lengths[0])
        assert together.mel_lengths[i] == frames
        close(together.mel[i, :frames], single.mel[0], atol=1e-5, rtol=1e-4)
        for name in ("durations", "log_durations", "pitch", "voicing", "energy"):
            found, wanted = getattr(together, name), getattr(single, name)
            assert (found is None) == (wanted is None)
            if found is not None:
                close(found[i, :n], wanted[0], atol=1e-5, rtol=1e-4)
                assert (found[i, n:] == 0).all(), name


@CONFIGS
def test_forward_of_a_batch_is_that_of_its_utterances(config):
    model, values = voice(config), batch(config)
    alone = [model(**row(values, i)) for i in range(3)]
    assert_batch_is_singles(model(**values), alone)
    assert [int(a.mel_lengths[0]) for a in alone] == values["durations"].sum(1).tolist()


@CONFIGS
def test_synthesis_of_a_batch_is_that_of_its_utterances(config):
    model, phonemes = voice(config), torch.randint(0, SYMBOLS, (3, 16))
    values = {
        "phonemes": phonemes,
        "phoneme_lengths": LENGTHS,
        "duration_scale": torch.rand(3, 16) + 0.5,
        **ids(config),
    }
    scales = {"length_scale": 1.3} | ({"pitch_scale": 1.2, "energy_scale": 0.5} if config.pitch else {})
    together = model.synthesize(**values, **scales)
    assert_batch_is_singles(together, [model.synthesize(**row(values, i), **scales) for i in range(3)])
    assert ((together.durations >= 1) == valid(LENGTHS, 16)).all()
    assert (together.durations.sum(1) == together.mel_lengths).all()


def test_synthesis_is_forward_on_what_it_predicted():
    model, values = voice(FULL), batch(FULL)
    out = model.synthesize(values["phonemes"], LENGTHS, values["speaker"], values["language"])
    predicted = {"durations": out.durations, "pitch": out.pitch, "energy": out.energy}
    close(model(**{**values, **predicted}).mel, out.mel)
    assert (out.pitch != 0).any() and ((out.pitch != 0) == (out.voicing > 0)).all()


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.5, 2.0])
def test_length_scale_scales_the_total(scale):
    model, phonemes, lengths = voice(PLAIN), torch.randint(0, SYMBOLS, (8, 40)), torch.full((8,), 40)
    plain, scaled = (model.synthesize(phonemes, lengths, length_scale=s) for s in (1.0, scale))
    ratio = scaled.mel_lengths / plain.mel_lengths
    assert ((ratio - scale).abs() < 0.03 * scale).all(), ratio


def test_the_total_is_the_sum_of_the_predictions_times_the_gain():
    model, phonemes, lengths = voice(PLAIN), torch.randint(0, SYMBOLS, (8, 40)), torch.full((8,), 40)
    model.duration_gain.fill_(1.07)
    out = model.synthesize(phonemes, lengths)
    assert ((out.mel_lengths - 1.07 * out.log_durations.exp().sum(1)).abs() <= 0.51).all()


def test_pause_control_lengthens_pauses_alone():
    model, values = voice(PLAIN), batch(PLAIN)
    pauses = (values["phonemes"] < 3) & valid(LENGTHS, 16)
    plain = model.synthesize(values["phonemes"], LENGTHS, length_scale=0.9).durations
    scale = torch.where(pauses, 2.0, 1.0)
    longer = model.synthesize(values["phonemes"], LENGTHS, length_scale=0.9, duration_scale=scale).durations
    assert pauses.sum() > 3 and (longer == scaled_durations(plain, scale)).all()
    assert (longer[pauses] == 2 * plain[pauses]).all() and (longer[~pauses] == plain[~pauses]).all()


def test_rows_that_guess_sound_by_what_is_predicted():
    model, values = voice(FULL).eval(), batch(FULL)
    guess = torch.tensor([[True], [False], [True]])
    told, mixed = model(**values), model(**values, guess=guess)
    own = {"pitch": told.pitch * (told.voicing > 0), "energy": told.energy}
    guessed = model(**values | own)
    close(mixed.mel, torch.where(guess[..., None], guessed.mel, told.mel))
    assert not torch.allclose(guessed.mel, told.mel)


def test_pitch_and_energy_scales_move_logarithms_by_a_ratio():
    model, values = voice(FULL), batch(FULL)
    model.pitch_std.fill_(0.25)
    model.energy_std.fill_(2.0)
    who = (values["phonemes"], LENGTHS, values["speaker"], values["language"])
    plain, moved = model.synthesize(*who), model.synthesize(*who, pitch_scale=1.2, energy_scale=0.5)
    voiced = plain.pitch != 0
    semitones = 0.25 * (moved.pitch - plain.pitch)[voiced]
    close(semitones, torch.full_like(semitones, 1.2).log())
    assert (moved.pitch[~voiced] == 0).all()
    keep = valid(LENGTHS, 16)
    close((2 * (moved.energy - plain.energy).exp() ** 2)[keep], torch.ones(int(keep.sum())))
    assert (moved.mel - plain.mel).abs().max() > 0.01


def test_every_parameter_learns():
    model, values = voice(FULL).train(), batch(FULL)
    out = model(**values)
    loss = fastspeech_loss(out, torch.randn_like(out.mel), LENGTHS, values["pitch"], values["energy"])
    sum(part.total for name, part in loss._asdict().items() if name != "frames").backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # a key's bias adds the same to all scores of a query
        assert parameter.grad.abs().sum() > 0 or name.endswith("k.bias"), name


def test_an_untrained_predictor_asks_for_no_endless_sound():
    model = voice(PLAIN)
    model.duration.out.bias.data.fill_(1e3)
    assert model.synthesize(torch.tensor([[1]]), torch.tensor([1])).mel_lengths.tolist() == [2000]


def test_normalised_mels_come_back():
    model, mel = voice(PLAIN), torch.randn(2, 7, 5)
    model.mel_mean.copy_(torch.randn(5))
    model.mel_std.copy_(torch.rand(5) + 1)
    close(model.denormalize(model.normalize(mel)), mel)
    assert {"mel_mean", "mel_std", "pitch_std", "energy_std", "duration_gain"} < set(model.state_dict())


def test_a_voice_of_several_speakers_asks_for_one():
    with pytest.raises(SpeechError, match="3 speakers"):
        voice(FULL).synthesize(torch.tensor([[1]]), torch.tensor([1]))


def test_speaker_and_language_are_heard():
    model = voice(FULL)
    values = row(batch(FULL), 0)

    def mel(speaker: int, language: int) -> torch.Tensor:
        return model(**{**values, "speaker": torch.tensor([speaker]), "language": torch.tensor([language])}).mel

    assert (mel(0, 0) - mel(1, 0)).abs().max() > 1e-3 and (mel(0, 0) - mel(0, 1)).abs().max() > 1e-3


@pytest.mark.parametrize(("kernels", "millions"), [((3, 3), 50.1), ((9, 1), 78.5)])
def test_sizes_of_the_papers(kernels, millions):
    with torch.device("meta"):
        model = FastSpeech(FastSpeechConfig(kernels=kernels), 51)
    assert count_parameters(model) / 1e6 == pytest.approx(millions, abs=0.05)


def test_a_stored_config_comes_back():
    assert FastSpeechConfig.from_dict(json.loads(json.dumps(dataclasses.asdict(FULL)))) == FULL
    with pytest.raises(SpeechError, match="d_modle"):
        FastSpeechConfig.from_dict({"d_modle": 3})
