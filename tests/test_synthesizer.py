"""Truths about speaking, on tiny voices with random weights."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_voice import MEL, PLAIN, fastspeech, parts, saved, transformer_tts

from speech.errors import SpeechError
from speech.models.tts_generate import generate
from speech.synthesizer import Synthesizer
from speech.talker import Manner, Spoken

TEXT = "Hallo Welt, hallo du. Und dann, ja? So war es - oder anders."
ANNA = Manner(speaker="Anna")


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return Synthesizer(saved(tmp_path_factory.mktemp("full"), fastspeech(), parts()), "cpu")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return Synthesizer(saved(tmp_path_factory.mktemp("plain"), fastspeech(PLAIN), parts((), ("de",))), "cpu")


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    voice = saved(tmp_path_factory.mktemp("slow"), transformer_tts(n_speakers=2), parts())
    return Synthesizer(voice, "cpu")


def one(voice: Synthesizer, text: str, manner: Manner = ANNA, **options) -> Spoken:
    (said,) = voice.speak(text, replace(manner, **options))
    return said


def frames(voice: Synthesizer, text: str, manner: Manner = ANNA, **options) -> np.ndarray:
    found = one(voice, text, manner, **options).frames
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["full", "slow"])
def test_to_speak_twice_is_the_same(name, request):
    voice = request.getfixturevalue(name)
    assert np.array_equal(voice.waveform(TEXT, ANNA)[0], voice.waveform(TEXT, ANNA)[0])


@pytest.mark.parametrize("name", ["full", "slow"])
def test_a_text_is_its_sentences_with_silence_between(name, request):
    voice, manner = request.getfixturevalue(name), replace(ANNA, sentence_silence=0.3)
    sentences = [said.text for said in voice.speak(TEXT, manner)]
    assert len(sentences) == 3 and " ".join(sentences) == TEXT
    silence = np.zeros(2400, np.float32)
    alone = [x for text in sentences for x in (silence, voice.waveform(text, manner)[0])][1:]
    together, dropped = voice.waveform(TEXT, manner)
    assert np.array_equal(together, np.concatenate(alone)) and dropped == []
    assert np.array_equal(together, np.concatenate([piece for piece, _ in voice.stream(TEXT, manner)]))


def test_every_phoneme_is_spoken_once(full):
    for said in full.speak(TEXT, ANNA):
        assert said.frames is not None and len(said.frames) == len(said.ids) == len(said.phonemes) + 2
        assert (said.frames >= 1).all() and said.frames.sum() == len(said.mel)
        assert len(said.waveform) == len(said.mel) * MEL.hop and np.abs(said.waveform).max() <= 1


@pytest.mark.parametrize("scale", [0.8, 1.5, 2.0])
def test_length_scale_scales_the_frames(full, scale):
    text = "hallo welt und dann war es so oder anders " * 6
    ratio = len(one(full, text, length_scale=scale).mel) / len(one(full, text).mel)
    assert ratio == pytest.approx(scale, rel=0.03)


def test_pause_scale_moves_the_frames_of_pauses_alone(full):
    text = "Hallo Welt, hallo du."
    plain, longer = (frames(full, text, pause_scale=scale) for scale in (1.0, 3.0))
    silent = np.array(one(full, text).silent)
    assert silent.sum() == 5 and (longer[silent] == 3 * plain[silent]).all()
    assert (longer[~silent] == plain[~silent]).all()


@pytest.mark.parametrize("manner", [ANNA, replace(ANNA, length_scale=2.0, pause_scale=2.0)])
def test_a_given_pause_stands_at_its_place_and_moves_nothing_else(full, manner):
    told, without = frames(full, "Hallo [[500ms]] Welt, ja", manner), frames(full, "Hallo Welt, ja", manner)
    place = len("^Hallo")
    assert told[place] == round(0.5 * MEL.sample_rate / MEL.hop) != without[place]
    assert np.array_equal(np.delete(told, place), np.delete(without, place))
    assert frames(full, "Hallo [[0ms]] Welt", manner)[place] == 1
    assert frames(full, "[[1s]] Hallo [[2s]]", manner)[[0, -1]].tolist() == [125, 250]


def test_a_sentence_that_is_a_pause_is_silence_of_its_length(full):
    first, pause, last = full.speak("Hallo.\n[[2s]]\nWelt.", ANNA)
    assert pause.frames[0] == 250 and len(pause.frames) == 2 and first.phonemes and last.phonemes


@pytest.mark.parametrize(
    "options", [{"pitch_scale": 1.5}, {"energy_scale": 3.0}, {"speaker": "Bo"}, {"language": "fr"}]
)
def test_what_is_asked_for_is_heard(full, options):
    assert np.abs(one(full, TEXT[:11]).mel[:9] - one(full, TEXT[:11], **options).mel[:9]).max() > 1e-4


def test_volume_scales_the_samples(full):
    quiet, loud = one(full, "Hallo", volume=0.25).waveform, one(full, "Hallo", volume=0.5).waveform
    np.testing.assert_allclose(loud, 2 * quiet, atol=1e-6)


def test_ten_thousand_characters_are_spoken_in_short_pieces(plain):
    spoken = [(len(said.text), len(said.waveform)) for said in plain.speak("wort " * 2000)]
    assert sum(n + 1 for n, _ in spoken) == 10_000 and len(spoken) > 30 and max(n for n, _ in spoken) <= 300
    assert all(samples > 0 for _, samples in spoken)


def test_a_voice_frame_by_frame_is_generation_alone(slow):
    said, model = one(slow, "Hallo Welt.", speaker="Bo"), slow.model
    expected = [float(model.frames_per_phoneme) * len(said.ids)]
    (found,) = generate(
        model, torch.tensor([said.ids]), torch.tensor([13]), expected, slow.generation, torch.tensor([1])
    )
    assert said.frames is None and found.ended and len(found.mel) > 9
    np.testing.assert_allclose(said.mel, model.denormalize(found.mel).numpy(), atol=1e-6)
    assert said.mel.shape != (other := one(slow, "Hallo Welt.")).mel.shape or np.abs(said.mel - other.mel).max() > 1e-4


def test_a_sentence_without_an_end_is_told_and_not_cut(tmp_path):
    model = transformer_tts(stop=-100.0)
    model.frames_per_phoneme.fill_(2.5)
    voice = Synthesizer(saved(tmp_path, model, parts((), ("de",))), "cpu")
    cap = math.ceil(2 * 2.5 * 13)
    with pytest.raises(SpeechError, match=f"'Hallo Welt.' did not end within {cap} mel frames, 2 times .*") as caught:
        voice.waveform("Hallo Welt.")
    assert "max_times_expected in generation_config.json" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("plain", {"pitch_scale": 1.2}, "^pitch_scale 1.2: the voice has length_scale, pause_scale; leave it at 1$"),
        ("plain", {"energy_scale": 1.2}, "^energy_scale 1.2: the voice has length_scale, pause_scale; leave it at 1$"),
        ("slow", {"length_scale": 2.0}, "^length_scale 2: the voice has none of the scales; leave it at 1$"),
        ("slow", {"pause_scale": 2.0}, "^pause_scale 2: the voice has none"),
        ("full", {}, "^the voice has 2 speakers: set speaker to Anna, Bo$"),
        ("full", {"speaker": "Eve"}, "^speaker 'Eve' is none of Anna, Bo$"),
        ("full", {"speaker": "Bo", "language": "en"}, "^language 'en' is none of de, fr$"),
    ],
)
def test_what_a_voice_cannot_do_is_told_before_it_speaks(name, options, message, request):
    with pytest.raises(SpeechError, match=message):
        request.getfixturevalue(name).speak("Hallo", Manner(**options))


def test_a_pause_is_refused_where_the_voice_makes_its_own(slow):
    with pytest.raises(SpeechError, match="makes its own pauses"):
        slow.speak("Hallo [[1s]] Welt", ANNA)


def test_a_fault_late_in_a_text_is_told_before_its_first_sentence(full):
    with pytest.raises(SpeechError, match="no phoneme 'q'"):
        full.speak("Hallo Welt. Und dann [[q]].", ANNA)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length_scale": 0.0}, "length_scale 0 is outside 0.25 ... 4"),
        ({"length_scale": float("nan")}, "length_scale nan is outside"),
        ({"pause_scale": 4.1}, "pause_scale 4.1 is outside 0.25 ... 4"),
        ({"pitch_scale": -1.0}, "pitch_scale -1 is outside 0.5 ... 2"),
        ({"energy_scale": 11.0}, "energy_scale 11 is outside 0.1 ... 10"),
        ({"sentence_silence": 11.0}, "sentence_silence 11 is outside 0 ... 10"),
        ({"volume": -0.1}, "volume -0.1 is outside 0 ... 10"),
    ],
)
def test_a_manner_outside_its_limits_is_told(options, message):
    with pytest.raises(SpeechError, match=message):
        Manner(**options)


def test_without_a_vocoder_griffin_lim_speaks(tmp_path, plain):
    from speech.voice_folder import save_voice

    save_voice(tmp_path, plain.model, plain.parts)
    voice = Synthesizer(tmp_path, "cpu")
    said, heard = one(voice, "so", Manner()), one(plain, "so", Manner())
    assert np.array_equal(said.mel, heard.mel) and np.abs(said.waveform).max() > 0
