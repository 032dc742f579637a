import io
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceProcessor

from speech.aligner_folder import ALIGNER, Aligner, save_aligner
from speech.errors import AudioError, SpeechError
from speech.folder import save_model
from speech.generation import GenerationConfig
from speech.models.aed import AED
from speech.models.ctc import CTCConfig, CTCModel
from speech.nn.config import AEDConfig, DecoderConfig, EncoderConfig, FrontendConfig
from speech.recognizer import load_model, pick_device
from speech.request import UNGUARDED, Request, parse_hotwords
from speech.search.alignment import ctc_align
from speech.search.ctc_prefix import ctc_greedy, ctc_score
from speech.text.tokenizer import Tokenizer

RATE = 16000
DIGITS = "zero one two three four five six seven eight nine".split()


@pytest.fixture
def make_model(tmp_path):
    """A random model whose answers depend on the audio and end at different lengths."""

    def make(kind="mel", sample_rate=RATE, **generation):
        tokenizer = Tokenizer.train(DIGITS, tmp_path / "t.model", 64, byte_fallback=False, languages=("en", "de"))
        torch.manual_seed(0)
        encoder = EncoderConfig(d_model=16, n_layers=1, n_heads=2, d_ff=32, subsampling_channels=4, conv_kernel=3)
        decoder = DecoderConfig(d_model=16, n_layers=1, n_heads=2, d_ff=32, max_tokens=40)
        model = AED(AEDConfig(FrontendConfig(kind, sample_rate, n_mels=16), encoder, decoder), tokenizer.size)
        with torch.no_grad():
            model.decoder.embed.weight.mul_(2)
            model.decoder.layers[0].cross.out.weight.mul_(30)
            model.decoder.norm.weight.normal_()
            model.decoder.head_bias[tokenizer.eos_id] = 1
        save_model(tmp_path / "model", model, tokenizer, GenerationConfig(**generation))
        return load_model(tmp_path / "model", "cpu")

    return make


def noise(samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=samples) * np.linspace(0, 0.2 + 0.1 * seed, samples)).clip(-1, 1).astype(np.float32)


WAVEFORMS = [noise(n, seed) for seed, n in enumerate([8000, 31000, 500, 16000, 24001, 4000, 16000])]


@pytest.mark.parametrize("kind", ["mel", "kaldi"])
@pytest.mark.parametrize("pad_seconds", [0.0, 0.15])
@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_batch_equals_its_singles(make_model, kind, pad_seconds, beam_size):
    model = make_model(kind, pad_seconds=pad_seconds)
    options = {"sampling_rate": RATE, "beam_size": beam_size}
    alone = [model.transcribe(x, **options) for x in WAVEFORMS]
    for batch_size in (3, 16):
        together = model.transcribe(WAVEFORMS, batch_size=batch_size, **options)
        assert [(t.text, t.duration) for t in together] == [(t.text, t.duration) for t in alone]
        for one, other in zip(together, alone, strict=True):
            assert [s.tokens for s in one.segments] == [s.tokens for s in other.segments]
            assert [s.avg_logprob for s in one.segments] == pytest.approx([s.avg_logprob for s in other.segments], 1e-3)
    assert len({t.text for t in alone}) > 3
    assert [t.duration for t in alone] == [len(x) / RATE for x in WAVEFORMS]


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_scores_of_a_batch_are_those_of_its_singles(make_model, beta):
    model = make_model()
    decoding = model.decoding(Request(beam_size=4))
    decoding = replace(decoding, options=replace(decoding.options, n_best=4, coverage_penalty=beta))
    together = model.search(WAVEFORMS, decoding)
    for waveform, found in zip(WAVEFORMS, together, strict=True):
        [alone] = model.search([waveform], decoding)
        assert [h.tokens for h in found] == [h.tokens for h in alone]
        assert [h.score for h in found] == pytest.approx([h.score for h in alone], 1e-3)


def test_silence_around_the_audio_is_part_of_what_is_heard(make_model):
    model = make_model(pad_seconds=0.25)
    [[padded]] = model.search([WAVEFORMS[1]], model.decoding())
    duration = model.transcribe(WAVEFORMS[1], sampling_rate=RATE).duration
    model = make_model()
    [[by_hand]] = model.search([np.pad(WAVEFORMS[1], 4000)], model.decoding())
    assert padded.tokens[:9] == by_hand.tokens[:9]
    assert padded.token_log_probs[:9] == pytest.approx(by_hand.token_log_probs[:9], 1e-3)
    assert duration == 31000 / RATE


def test_every_kind_of_source_gives_the_same(make_model, tmp_path):
    model, path = make_model(), tmp_path / "a.wav"
    sf.write(path, WAVEFORMS[1], RATE, subtype="FLOAT")
    expected = model.transcribe(WAVEFORMS[1], sampling_rate=RATE)
    with path.open("rb") as file:
        for source in (str(path), path, path.read_bytes(), file, io.BytesIO(path.read_bytes())):
            assert model.transcribe(source) == expected
    assert model.transcribe(WAVEFORMS[1].astype(np.float64), sampling_rate=RATE) == expected
    mixed = model.transcribe([path, WAVEFORMS[0], path.read_bytes()], sampling_rate=RATE)
    other = model.transcribe(WAVEFORMS[0], sampling_rate=RATE)
    assert [t.text for t in mixed] == [expected.text, other.text, expected.text]
    assert model.transcribe((path,)) == [expected]
    assert model.transcribe([]) == []


def test_another_rate_is_resampled(make_model, tmp_path):
    model, path = make_model(), tmp_path / "a.wav"
    sf.write(path, WAVEFORMS[1], 22050, subtype="FLOAT")
    assert model.transcribe(WAVEFORMS[1], sampling_rate=22050) == model.transcribe(path)
    assert model.transcribe(path).duration == pytest.approx(31000 / 22050, abs=1e-3)


def test_what_is_wrong_with_an_array_is_said(make_model):
    model, good = make_model(), WAVEFORMS[0]
    broken = good.copy()
    broken[7] = np.nan
    for source, rate, message in [
        (good, None, r"array of shape \(8000,\): needs sampling_rate"),
        (good, 0, "sampling_rate 0 Hz is outside 4000 ... 384000 Hz"),
        (good, 1, "sampling_rate 1 Hz is outside"),
        (good[None], RATE, r"array of shape \(1, 8000\): needs samples in one dimension"),
        (good[:0], RATE, r"array of shape \(0,\): needs samples"),
        (np.array(1.0), RATE, r"array of shape \(\)"),
        (broken, RATE, "NaN or infinite"),
        (np.full(8000, -np.inf), RATE, "NaN or infinite"),
        ((good * 32767).astype(np.int16), RATE, r"has int16 samples, needs floating-point ones in \[-1, 1\]"),
        (np.array(["a"] * 8000), RATE, "floating-point"),
        (good[:159], RATE, "159 samples at 16000 Hz are too short for one frame"),
        (
            good * 30000,
            RATE,
            r"a sample of 2\d+\S*, floating-point ones lie in \[-1, 1\]; divide those at the scale",
        ),
        (3.5, RATE, "float is no audio: give a path, bytes, a file or a numpy array"),
        (None, RATE, "NoneType is no audio"),
    ]:
        for one in (source, [good, source]):
            with pytest.raises(SpeechError, match=message) as caught:
                model.transcribe(one, sampling_rate=rate)
            assert "\n" not in str(caught.value)


def test_short_recordings_are_filled_up_on_both_sides(make_model):
    model = make_model(min_seconds=1.0)
    assert model._padding(RATE) == model._padding(2 * RATE) == (0, 0)
    assert model._padding(RATE - 3) == (2, 1) and model._padding(RATE - 4) == (2, 2)
    short = WAVEFORMS[0]
    by_hand = np.pad(short, model._padding(len(short)))
    assert len(by_hand) == RATE
    assert torch.equal(model.encode([short]).encoded, model.encode([by_hand]).encoded)
    assert not torch.equal(model.encode([short]).lengths, make_model().encode([short]).lengths)


def test_a_translation_has_the_language_that_is_asked_for(make_model):
    model = make_model()
    special = model.tokenizer.special
    asked = model.decoding(Request(language="en", task="translate", target_language="de")).prompt
    assert [special("<|en|>"), special("<|translate|>"), special("<|de|>")] == asked[1:4]
    assert model.decoding(Request(language="de", task="translate")).prompt[3] == special("<|en|>")
    with pytest.raises(SpeechError, match="task 'translate' from 'en' to 'en': it needs another target language"):
        model.transcribe(WAVEFORMS[0], sampling_rate=RATE, task="translate")


def test_padding_makes_a_short_sound_long_enough(make_model):
    assert make_model(pad_seconds=0.1).transcribe(WAVEFORMS[0][:10], sampling_rate=RATE).duration == 10 / RATE


def test_a_broken_file_is_named(make_model, tmp_path):
    model = make_model()
    (tmp_path / "a.wav").write_bytes(b"RIFF1234WAVE" + bytes(99))
    sf.write(tmp_path / "short.wav", WAVEFORMS[0][:100], RATE)
    for source, message in [
        (tmp_path / "a.wav", f"{tmp_path}/a.wav: cannot be decoded"),
        (tmp_path / "none.wav", f"{tmp_path}/none.wav: No such file"),
        (tmp_path / "short.wav", f"{tmp_path}/short.wav: 100 samples at 16000 Hz are too short"),
        (b"", "audio bytes: is empty"),
        ((tmp_path / "short.wav").read_bytes(), "audio bytes: 100 samples"),
    ]:
        with pytest.raises(AudioError, match=message) as caught:
            model.transcribe(source)
        assert "\n" not in str(caught.value)


def talk(*seconds: float) -> np.ndarray:
    """Noise and silence in turn."""
    rng = np.random.default_rng(0)
    parts = [(0.0 if i % 2 else 0.2) * rng.normal(size=round(RATE * s)) for i, s in enumerate(seconds)]
    return np.concatenate(parts).clip(-1, 1).astype(np.float32)


@pytest.fixture
def by_energy(monkeypatch):
    """No network hears speech in noise."""
    monkeypatch.setattr("speech.audio.vad.silero_path", lambda: None)


def test_long_recordings_are_heard_piece_by_piece(make_model, by_energy):
    model = make_model(max_seconds=2.0)
    parts = [(1.0, 2.5), (4.5, 5.5), (7.5, 9.0)]
    sound = talk(0, 1, 1.5, 2, 1, 2, 1.5, 0.5)
    found = model.transcribe(sound, sampling_rate=RATE, word_timestamps=True)
    assert found.duration == len(sound) / RATE
    heard = [(s.start, s.end) for s in found.segments]
    assert heard == sorted(heard) and all(any(a - 0.25 <= s and e <= b + 0.25 for a, b in parts) for s, e in heard)
    assert {round(s.seek / 100) for s in found.segments} == {1, 4, 7}
    alone = [
        model.transcribe(sound[round((a - 0.2) * RATE) : round((b + 0.2) * RATE)], sampling_rate=RATE) for a, b in parts
    ]
    assert len(found.text.split()) == pytest.approx(sum(len(t.text.split()) for t in alone), abs=6)
    assert [w.word for w in found.words] == found.text.split()
    short = talk(1.5)
    both = model.transcribe([short, sound, short], sampling_rate=RATE, batch_size=2)
    once = model.transcribe(short, sampling_rate=RATE)
    assert [t.text for t in both] == [once.text, found.text, once.text]


def test_silence_is_no_text(make_model, by_energy):
    model = make_model(max_seconds=2.0)
    for seconds in (1.5, 9.0):
        found = model.transcribe(np.zeros(round(seconds * RATE), np.float32), sampling_rate=RATE, vad=True)
        assert (found.text, found.segments, found.duration) == ("", [], seconds)


def test_memory_holds_no_long_recording(make_model, by_energy):
    model, longest = make_model(max_seconds=2.0), 0
    hear = model._hear

    def spy(pieces, *args):
        nonlocal longest
        longest = max(longest, sum(len(piece.waveform) for piece in pieces))
        return hear(pieces, *args)

    model._hear = spy
    sound = talk(*[1.0, 0.5] * 40)
    found = model.transcribe(sound, sampling_rate=RATE, batch_size=2)
    assert longest <= 2 * 2.0 * RATE and found.duration == 60.0


def test_each_recording_comes_when_it_is_ready_and_a_broken_one_says_why(make_model, tmp_path):
    model = make_model()
    (tmp_path / "a.wav").write_bytes(b"RIFF1234WAVE" + bytes(99))
    sf.write(tmp_path / "b.wav", WAVEFORMS[1], RATE)
    files = [tmp_path / "b.wav", tmp_path / "a.wav", tmp_path / "b.wav"]
    found = dict(model.transcribe_each(files, batch_size=2))
    assert found[0] == found[2] and found[0].text and isinstance(found[1], AudioError)
    with pytest.raises(SpeechError, match="batch_size 0 must be at least 1"):
        model.transcribe_each(files, batch_size=0)  # before the first is asked for


def test_wrong_settings_are_refused_before_any_audio_is_read(make_model):
    model = make_model()
    for options, message in [
        ({"language": "xx"}, "language 'xx' is not one of en, de"),
        ({"task": "sing"}, "task 'sing' is not one of transcribe, translate"),
        ({"beam_size": 0}, "beam_size 0 must be at least 1"),
        ({"batch_size": 0}, "batch_size 0 must be at least 1"),
        ({"length_penalty": 1e9}, r"length_penalty 1e\+09 is outside -10 ... 10"),
        ({"length_penalty": float("nan")}, "length_penalty nan is outside"),
    ]:
        with pytest.raises(SpeechError, match=message):
            model.transcribe("none.wav", **options)


def test_settings_of_the_model_hold_where_none_are_given(make_model):
    model = make_model(beam_size=3, length_penalty=0.2, language="de")
    assert (model.decoding().options.size, model.decoding().options.length_penalty) == (3, 0.2)
    own, asked = model.decoding().options, model.decoding(Request(beam_size=1, length_penalty=0.0)).options
    assert asked == replace(own, size=1, length_penalty=0.0)
    assert model.transcribe(WAVEFORMS[0], sampling_rate=RATE).language == "de"
    assert model.transcribe(WAVEFORMS[0], sampling_rate=RATE, language="en").language == "en"


def test_the_text_is_capped_by_the_audio_and_by_the_decoder(make_model):
    # no end: 2 tokens a second and 3 more; 40 places less 5 of the prompt and 1 for the end
    for rate, expected in [(2.0, [4, 7, 5]), (1000.0, [34, 34, 34])]:
        model = make_model(max_tokens_per_second=rate, extra_tokens=3, pad_seconds=0.5)
        with torch.no_grad():
            model.model.decoder.head_bias[model.tokenizer.eos_id] = -1000
        found = model.transcribe([WAVEFORMS[i] for i in (0, 1, 3)], sampling_rate=RATE)
        assert [len(t.segments[0].tokens) for t in found] == expected


def test_special_symbols_never_come(make_model):
    model = make_model()
    never = [i for i in model.tokenizer.special_ids if i != model.tokenizer.eos_id]
    with torch.no_grad():
        model.model.decoder.head_bias[never] = 1000
    found = model.transcribe(WAVEFORMS, sampling_rate=RATE)
    assert not set(never) & {token for t in found for s in t.segments for token in s.tokens}


def test_a_loop_is_left_after_ten(make_model):
    model = make_model()
    one = model.tokenizer.encode("one")[0]
    with torch.no_grad():
        model.model.decoder.head_bias[one] = 1000
    [segment] = model.transcribe(WAVEFORMS[1], sampling_rate=RATE).segments
    assert segment.tokens[:10] == [one] * 10 and segment.tokens[10] != one


def test_a_transcript_says_what_was_heard(make_model):
    model = make_model()
    found = model.transcribe(WAVEFORMS[1], sampling_rate=RATE, **UNGUARDED)
    [segment] = found.segments
    assert found.text == segment.text == model.tokenizer.decode(segment.tokens).strip() != ""
    assert 0 <= segment.start < segment.end <= found.duration + 1e-3 and found.duration == 31000 / RATE
    [[best]] = model.search([WAVEFORMS[1]], model.decoding())
    assert segment.avg_logprob == pytest.approx(sum(best.token_log_probs) / len(best.token_log_probs))
    with torch.no_grad():
        model.model.decoder.head_bias[model.tokenizer.eos_id] = 1000
    silent = model.transcribe(WAVEFORMS[1], sampling_rate=RATE)
    assert (silent.text, silent.segments) == ("", [])


def test_a_device_that_is_not_there_is_named(make_model, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    make_model()
    for name, message in [
        ("cuda", "device cuda is not available: torch sees no such GPU; choose device cpu or auto"),
        ("cuda:9", "device cuda:9 is not available"),
        ("gpu", "device 'gpu' is unknown; choose auto, cpu or cuda"),
    ]:
        with pytest.raises(SpeechError, match=message):
            load_model(tmp_path / "model", name)
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(SpeechError, match="model folder nowhere does not exist"):
        load_model(Path("nowhere"), "cpu")


def test_lower_precision_and_its_refusal(make_model, tmp_path):
    exact = make_model(half=False)
    expected = exact.encode(WAVEFORMS[:2]).encoded
    low = load_model(tmp_path / "model", "cpu", "bf16")
    found = low.encode(WAVEFORMS[:2]).encoded
    assert found.dtype == torch.bfloat16 and low.model.frontend.bank.dtype == torch.float32
    assert 0 < (found.float() - expected).abs().max() < 0.1
    assert low.transcribe(WAVEFORMS[1], sampling_rate=RATE, word_timestamps=True).words
    with pytest.raises(
        SpeechError, match="precision 16: activations of .*model pass fp16's range .*; choose bf16 or 32"
    ):
        load_model(tmp_path / "model", "cpu", "16")
    with pytest.raises(SpeechError, match="precision '8' is not one of 32, bf16, 16"):
        load_model(tmp_path / "model", "cpu", "8")
    make_model()
    assert load_model(tmp_path / "model", "cpu", "16").encode(WAVEFORMS[:1]).encoded.dtype == torch.float16


def test_words_have_times_inside_the_audio_in_order(make_model):
    model = make_model()
    sounds = WAVEFORMS[:3]
    found = model.transcribe(list(sounds), sampling_rate=16000, word_timestamps=True)
    alone = [model.transcribe(x, sampling_rate=16000, word_timestamps=True) for x in sounds]
    for one, other in zip(found, alone, strict=True):
        assert [(w.word, w.start, w.end) for w in one.words] == [(w.word, w.start, w.end) for w in other.words]
    assert any(transcript.words for transcript in found)
    for transcript in found:
        assert " ".join(word.word for word in transcript.words).split() == transcript.text.split()
        times = [t for word in transcript.words for t in (word.start, word.end)]
        assert times == sorted(times) and all(0 <= t <= transcript.duration + 1e-3 for t in times)
        assert all(0 < word.probability <= 1 for word in transcript.words)
    plain = model.transcribe(list(sounds), sampling_rate=16000)
    assert [t.text for t in plain] == [t.text for t in found] and not any(t.words for t in plain)


def test_word_times_come_from_what_the_model_has(make_model):
    model = make_model()
    by_ctc, by_attention = (
        model.transcribe(WAVEFORMS[1], sampling_rate=RATE, word_timestamps=True, **UNGUARDED, word_times=how)
        for how in ("ctc", "attention")
    )
    assert [w.word for w in by_ctc.words] == [w.word for w in by_attention.words]
    assert [w.start for w in by_ctc.words] != [w.start for w in by_attention.words]
    assert model.transcribe(WAVEFORMS[1], sampling_rate=RATE, word_timestamps=True, **UNGUARDED) == by_ctc
    model.model.ctc = None
    assert model.transcribe(WAVEFORMS[1], sampling_rate=RATE, word_timestamps=True, **UNGUARDED) == by_attention
    for how, message in [
        ("ctc", "word_times 'ctc': this model has no CTC head; choose auto or attention"),
        ("tokens", "word_times 'tokens': this model has no tokens of time"),
        ("ears", "word_times 'ears' is not one of auto, ctc, tokens, attention"),
    ]:
        with pytest.raises(SpeechError, match=message):
            model.transcribe(WAVEFORMS[1], sampling_rate=RATE, word_times=how)


def test_an_aligner_beside_the_model_gives_its_word_times(make_model, tmp_path):
    model = make_model(max_tokens_per_second=4.0)
    spe = SentencePieceProcessor(model_file=str(tmp_path / "t.model"))
    torch.manual_seed(1)
    net = CTCModel(CTCConfig(model.model.config.frontend, model.model.config.encoder), spe.get_piece_size()).eval()
    save_aligner(tmp_path / "model" / ALIGNER, Aligner(net, spe))
    config = json.loads((tmp_path / "model/config.json").read_text())
    (tmp_path / "model/config.json").write_text(json.dumps({**config, "ctc": False}))
    weights = load_file(tmp_path / "model/model.safetensors")
    save_file({k: v for k, v in weights.items() if not k.startswith("ctc.")}, tmp_path / "model/model.safetensors")
    model = load_model(tmp_path / "model", "cpu")
    asked = dict(sampling_rate=RATE, word_timestamps=True, **UNGUARDED)
    found = model.transcribe(WAVEFORMS[1], **asked)
    with torch.no_grad():
        log_probs = net.log_probs(torch.from_numpy(WAVEFORMS[1])[None], torch.tensor([31000]))[0][0].numpy()
    ids = [spe.encode(word.word) for word in found.words]
    spans = ctc_align(log_probs, sum(ids, []), spe.get_piece_size())
    at = 0
    for word, own in zip(found.words, ids, strict=True):  # words grow from their peaks
        assert word.start <= spans[at].start * net.frame_seconds + 1e-3
        assert word.end >= min(spans[at + len(own) - 1].end * net.frame_seconds, found.duration) - 1e-3
        at += len(own)
    assert len(found.words) > 2
    by_attention = model.transcribe(WAVEFORMS[1], **asked, word_times="attention")
    assert [w.word for w in by_attention.words] == [w.word for w in found.words] and by_attention != found
    with pytest.raises(SpeechError, match="ctc_weight 0.5: this model has no CTC head"):
        model.transcribe(WAVEFORMS[1], sampling_rate=RATE, ctc_weight=0.5)


def test_a_doubtful_text_is_sought_again_with_a_beam_and_the_ctc_head(make_model):
    model = make_model()
    plain = model.transcribe(WAVEFORMS, sampling_rate=RATE, **UNGUARDED)
    guarded = model.transcribe(WAVEFORMS, sampling_rate=RATE, logprob_threshold=-2.0, ctc_agreement_threshold=0.01)
    careful = model.transcribe(WAVEFORMS, sampling_rate=RATE, beam_size=4, ctc_weight=0.3, **UNGUARDED)
    chosen = [
        "plain" if g.text == p.text else "careful" if g.text == c.text else "neither"
        for p, c, g in zip(plain, careful, guarded, strict=True)
    ]
    assert set(chosen) == {"plain", "careful"}
    assert all(s.doubts == [] for t in plain for s in t.segments)
    doubts = {doubt.split()[0] for t in guarded for s in t.segments for doubt in s.doubts}
    assert "avg_logprob" in doubts and doubts <= {"compression_ratio", "avg_logprob", "ctc_agreement"}
    alone = [
        model.transcribe(x, sampling_rate=RATE, logprob_threshold=-2.0, ctc_agreement_threshold=0.01) for x in WAVEFORMS
    ]
    assert [(t.text, [s.doubts for s in t.segments]) for t in alone] == [
        (t.text, [s.doubts for s in t.segments]) for t in guarded
    ]


def test_no_text_where_the_ctc_head_hears_nothing(make_model):
    model = make_model()
    with torch.no_grad():
        model.model.ctc.bias[model.tokenizer.blank_id] = 100
    asked = {**UNGUARDED, "sampling_rate": RATE}
    assert model.transcribe(WAVEFORMS[1], **asked).text
    assert model.transcribe(WAVEFORMS[1], **{**asked, "no_speech_threshold": 0.6}).segments == []


def test_the_ctc_head_decides_alone_at_full_weight(make_model):
    model = make_model(max_token_repeats=99, max_repeats=99, max_tokens_per_second=50.0)
    with torch.no_grad():
        model.model.ctc.weight.mul_(30)
    for waveform in WAVEFORMS[1], WAVEFORMS[4]:
        log_probs = model.ctc_log_probs(model.encode([waveform]), 0)
        asked = dict(sampling_rate=RATE, beam_size=8, ctc_weight=1.0, length_penalty=0.0, **UNGUARDED)
        found = [token for s in model.transcribe(waveform, **asked).segments for token in s.tokens]
        heard = [t for t in ctc_greedy(log_probs, model.tokenizer.blank_id) if t not in model.tokenizer.special_ids]
        score = partial(ctc_score, log_probs, blank=model.tokenizer.blank_id)
        assert score(ids=found) >= score(ids=heard)
    model.model.ctc = None
    with pytest.raises(SpeechError, match="ctc_weight 1: this model has no CTC head; choose 0"):
        model.transcribe(WAVEFORMS[0], sampling_rate=RATE, ctc_weight=1.0)
    with pytest.raises(SpeechError, match="ctc_weight 1.5 is outside 0 ... 1"):
        make_model().transcribe(WAVEFORMS[0], sampling_rate=RATE, ctc_weight=1.5)


def test_hot_words_are_expected(make_model):
    model = make_model()
    asked = dict(sampling_rate=RATE, beam_size=4, **UNGUARDED)
    plain, hot = (
        [t.text.split().count("seven") for t in model.transcribe(WAVEFORMS, **asked, hotwords=words)]
        for words in ((), {"seven": 4.0})
    )
    assert sum(hot) > sum(plain)
    for words, message in [(["ß"], "hot word 'ß'"), ([" "], "is empty"), ({"one": 99.0}, "weight 99 is not above 0")]:
        with pytest.raises(SpeechError, match=message):
            model.transcribe(WAVEFORMS, **asked, hotwords=words)


def test_hot_words_of_the_command_line():
    assert parse_hotwords("") == {} and parse_hotwords(" a b, c:2 ,,") == {"a b": 1.5, "c": 2.0}
    assert parse_hotwords("3:30 pm") == {"3:30 pm": 1.5}  # no weight
