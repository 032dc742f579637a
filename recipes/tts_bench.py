"""A voice beside its recordings: what `recipes.evaluate_tts` measures of each sentence."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from recipes.tts_report import SOUNDS, write_mel
from speech.audio.pitch import pitch
from speech.audio.write import write_audio
from speech.data.arrays import Arrays
from speech.data.manifests import load_audio
from speech.errors import AudioError, DataError, SpeechError
from speech.metrics import CHARACTER_LANGUAGES, error_rates
from speech.reading import Reading, read
from speech.recognizer import Recognizer
from speech.request import UNGUARDED, Request
from speech.synthesizer import Synthesizer
from speech.talker import Manner
from speech.text.normalize import normalize
from speech.text.phonemes import given
from speech.text.spoken import spoken
from speech.training.plots import plot_alignment
from speech.tts_metrics import (
    attention_jumps,
    duration_error_ms,
    focus_rate,
    mel_cepstral_distortion,
    pitch_errors,
    reading_head,
)
from speech.vocoder_folder import load_vocoder


class Said(NamedTuple):
    mel: np.ndarray  # [T, F] natural log
    waveform: np.ndarray  # [samples]
    frames: np.ndarray  # [N + 2] of the start, each phoneme and the end
    attention: np.ndarray | None  # [T, N + 2] of a voice that speaks frame by frame
    row: dict[str, Any]  # what results.json tells of it


class Bench:
    """The voice, its judge, and the durations of the recordings."""

    def __init__(self, args: argparse.Namespace):
        self.voice = Synthesizer(args.voice, args.device)
        self.voice.generation = replace(self.voice.generation, with_attention=True)
        self.device, mel = self.voice.device, self.voice.config
        self.rate, self.hop, self.hop_seconds = mel.sample_rate, mel.hop, mel.hop / mel.sample_rate
        if args.vocoder:
            vocoder = load_vocoder(args.vocoder)
            if vocoder.config.mel != mel:
                raise SpeechError(f"--vocoder {args.vocoder}: its mel is {vocoder.config.mel}, not {mel}")
            self.voice.vocoder = vocoder.to(self.device)
        # read when all is on the host again
        self.clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        self.judge = Recognizer(args.recognizer, args.device) if args.recognizer else None
        self.durations = Arrays(args.aligner_durations) if args.aligner_durations else None
        characters = self.judge is not None and self.judge.generation.language in CHARACTER_LANGUAGES
        self.settings = {
            "voice": Path(args.voice).resolve().name, "vocoder": type(self.voice.vocoder).__name__,
            "mel": f"{mel.n_mels} natural log-mels of {mel.low_hz:g} ... {mel.top_hz:g} Hz at {mel.sample_rate} Hz",
            "recognizer": args.recognizer and Path(args.recognizer).resolve().name,
            "normalize": args.normalize or ("zh" if characters else "en"), "threads": torch.get_num_threads(),
            "clock": "CPU seconds" if self.device.type == "cpu" else f"wall seconds on {self.device.type}",
        }  # fmt: skip

    def words(self, text: str, language: str) -> str:
        """A text as both sides of a comparison have it: numbers in words, normalised."""
        try:
            return normalize(spoken(text, language).text, self.settings["normalize"])
        except SpeechError:  # no word in it
            return ""

    def heard(self, waveforms: Sequence[np.ndarray], language: str) -> list[str]:
        """What the judge reads; nothing where a waveform is too short for it."""
        assert self.judge is not None
        texts, request = [""] * len(waveforms), Request(**UNGUARDED)  # type: ignore[arg-type]
        for i, result in self.judge.transcribe_each(waveforms, request, sampling_rate=self.rate):
            texts[i] = "" if isinstance(result, AudioError) else self.words(result.text, language)
        return texts

    @torch.inference_mode()
    def through(self, module: torch.nn.Module, x: np.ndarray) -> np.ndarray:
        return module(torch.from_numpy(x)[None].to(self.device))[0].cpu().numpy()

    def vocode(self, log_mel: np.ndarray) -> np.ndarray:
        return self.through(self.voice.vocoder, log_mel).clip(-1, 1)

    def say(self, reading: Reading, manner: Manner) -> Said:
        started = self.clock()
        drawn = self.voice.draw(reading, *self.voice.check(manner), manner)
        log_mel, frames, attention, row = drawn.mel.cpu().numpy(), drawn.frames, None, {}
        vocoding = self.clock()
        waveform = self.vocode(log_mel)
        row["seconds"] = {"acoustic model": vocoding - started, "vocoder": self.clock() - vocoding}
        if drawn.generated is not None:
            weights = drawn.generated.attention.numpy()  # type: ignore[union-attr]
            attention = reading_head(weights).repeat(self.voice.model.config.reduction, 0)  # type: ignore[union-attr]
            frames = np.bincount(attention.argmax(1), minlength=len(reading.ids))
            row |= {"ended": drawn.generated.ended, "jumps": attention_jumps(attention)}
            row["focus_rate"] = float(focus_rate(attention))
        assert frames is not None
        sounding = ~np.array(reading.silent)[1:-1]  # blanks and marks may have no frame
        row |= {"phonemes": int(sounding.sum()), "reached": int((frames[1:-1][sounding] > 0).sum())}
        return Said(log_mel, waveform, frames, attention, row)

    def utterance(self, cut, stem: Path | None) -> dict[str, Any]:
        """Numbers of a recording, its copy and the synthesis of its phonemes; files beginning with `stem` if given."""
        told, parts = next(iter(cut.supervisions), None), self.voice.parts
        text = (told.custom or {}).get("said") if told else None
        if told is None or not told.text or text is None:
            raise DataError("no phonemes, or not what was said: prepare the manifest by recipes.prepare")
        phonemes = given(told.text)
        ids = [parts.tokenizer.bos_id, *parts.tokenizer.table.encode(phonemes), parts.tokenizer.eos_id]
        reading = Reading(text, phonemes, ids, {}, [])
        language = told.language if len(parts.languages) > 1 else None
        manner = Manner(speaker=told.speaker if parts.speakers else None, language=language)
        phonemizer = parts.phonemizer(language)[1]
        said = self.say(reading, manner)
        recording = load_audio(cut, self.rate)
        recording = recording[: len(recording) // self.hop * self.hop]
        true = self.through(self.voice.vocoder.mel, recording)
        sounds = dict(zip(SOUNDS, (recording, self.vocode(true), said.waveform), strict=True))
        mels = {name: self.through(self.voice.vocoder.mel, x) for name, x in sounds.items()}
        pitches = {name: pitch(x, self.rate, self.hop) for name, x in sounds.items()}
        row = {"id": cut.id, "said": self.words(text, phonemizer.language), **said.row}
        row["mel_mcd"] = mel_cepstral_distortion(true, said.mel)[0]
        row["frames"] = {name: len(mel) for name, mel in mels.items()}
        texts = self.heard(list(sounds.values()), phonemizer.language) if self.judge else [None] * 3
        row["heard"] = dict(zip(SOUNDS, texts, strict=True))
        for name in SOUNDS[1:]:
            mcd, path = mel_cepstral_distortion(true, mels[name])
            row[name] = {"mcd": mcd, **pitch_errors(pitches["recording"], pitches[name], path)}
        durations = self.durations[cut.id] if self.durations is not None else None
        if durations is not None:
            if len(durations) != len(ids) or durations.sum() != len(true):
                raise DataError("its durations do not fit: let the aligner write them anew")
            row["duration_mae_ms"] = duration_error_ms(said.frames, durations, self.hop_seconds)
            if said.attention is None and durations.all():  # those of 0 the voice would choose itself
                seconds = dict(enumerate((durations * self.hop_seconds).tolist()))
                row["mel_l1"] = float(np.abs(self.say(replace(reading, pauses=seconds), manner).mel - true).mean())
        started = self.clock()
        phonemizer(phonemizer.spoken(text).text)
        row["seconds"]["text"] = self.clock() - started
        if stem:
            row["shown"] = self.show(stem, reading, sounds, mels, said, durations)
        return row

    def show(self, stem: Path, reading: Reading, sounds, mels, said: Said, durations) -> dict[str, Any]:
        """Sounds and pictures of an utterance, and the frames of its phonemes."""
        for name in SOUNDS:
            write_audio(f"{stem}-{name}.flac", sounds[name], self.rate)
            write_mel(Path(f"{stem}-{name}.png"), mels[name])
        symbols, frames = ["", *reading.phonemes, ""], {"recording": durations, "copy": durations}
        if said.attention is not None:
            plot_alignment(Path(f"{stem}-attention.png"), said.attention, symbols)
        else:
            frames["synthesis"] = said.frames
        strips = {name: list(zip(symbols, n.tolist(), strict=True)) for name, n in frames.items() if n is not None}
        return {"files": f"{stem.parent.name}/{stem.name}", "text": reading.text, "phonemes": strips}

    def hard(self, lines: Sequence[str]) -> dict[str, Any]:
        """Sentences as the text front end reads them; what cannot be spoken is told."""
        rows, unspoken, language = [], [], self.voice.parts.languages[0]
        for line in lines:
            try:
                parts = [self.say(reading, Manner()) for reading in read(line, self.voice.parts)]
            except SpeechError as error:
                unspoken.append({"text": line, "reason": str(error)})
                continue
            counts = {key: sum(p.row[key] for p in parts) for key in ("phonemes", "reached")}
            if parts[0].attention is not None:
                counts["capped"] = not all(p.row["ended"] for p in parts)
                counts["jumps"] = sum(p.row["jumps"] for p in parts)
            texts = {"text": line}
            if self.judge:
                (heard,) = self.heard([np.concatenate([p.waveform for p in parts])], language)
                texts |= {"said": self.words(line, language), "heard": heard}
                edits = error_rates([""], [texts["said"]], [heard], "word")
                repeat, skip = edits.insertions > 0, edits.deletions > 0
                counts |= {"repeat": repeat, "skip": skip, "either": repeat or skip}
            rows.append({**texts, **counts})
        totals = {key: sum(row[key] for row in rows) for key in (counts if rows else ())}
        return {"sentences": len(lines), "spoken": len(rows), **totals, "unspoken": unspoken, "rows": rows}
