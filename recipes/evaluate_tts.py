"""How a voice speaks: read back by a recogniser, beside its recordings in sound and timing, on hard sentences, speed.

python -m recipes.evaluate_tts VOICE --manifest test.jsonl.gz --out DIR [--recognizer MODEL] [--sentences FILE]
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recipes.tts_report import SOUNDS, markdown, page, tables, write_mel
from speech.errors import AudioError, DataError, SpeechError, run
from speech.text.normalize import RULES, normalize


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("voice", help="voice folder")
    parser.add_argument("--manifest", required=True, help="test set of recipes.prepare, whose texts are phonemes")
    parser.add_argument("--out", required=True, type=Path, help="folder for results.json, results.md and index.html")
    parser.add_argument("--vocoder", help="vocoder folder (default: the voice's, else Griffin-Lim)")
    parser.add_argument("--recognizer", help="model folder of the judge, which has not heard the voice's training set")
    parser.add_argument("--normalize", choices=RULES, help="of what is read back (default: zh for zh, ja, ko, else en)")
    parser.add_argument("--aligner-durations", help="durations.npz of the recordings, by recipes.train_aligner")
    parser.add_argument("--sentences", type=Path, help="hard ones, one a line")
    parser.add_argument("--limit", type=int, help="only the first utterances")
    parser.add_argument("--examples", type=int, default=10, help="utterances to listen to on the page (default: 10)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (0: torch's choice; default: 1)")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = make_parser().parse_args(argv)

    import torch

    from speech.data.manifests import open_manifest

    if args.threads > 0:
        torch.set_num_threads(args.threads)
    bench = Bench(args)
    try:
        (args.out / "examples").mkdir(parents=True, exist_ok=True)
        lines = args.sentences.read_text(encoding="utf-8").splitlines() if args.sentences else []
    except OSError as error:
        raise SpeechError(f"{error.filename}: {error.strerror}; give another --out or --sentences") from None
    except UnicodeDecodeError:
        raise SpeechError(f"--sentences {args.sentences}: not UTF-8") from None
    rows, failed = [], []
    for cut in list(open_manifest(args.manifest))[: args.limit]:  # type: ignore[call-overload]
        try:
            stem = args.out / "examples" / f"{len(rows)}" if len(rows) < args.examples else None
            rows.append(bench.utterance(cut, stem))
        except SpeechError as error:
            print(f"error: {cut.id}: {error}", file=sys.stderr)
            failed.append({"id": cut.id, "reason": str(error)})
    if not rows:
        raise DataError(f"{args.manifest}: none of {len(failed)} utterances could be spoken and compared; see above")
    hard = bench.hard([line for line in lines if line.strip()]) if args.sentences else None
    found = {**bench.settings, **summary(rows, bench.hop_seconds), "hard": hard, "rows": rows, "failed": failed}
    made, title = tables(found), f"Voice {found['voice']}"
    about = f"{len(rows)} utterances of {Path(args.manifest).name}, {len(failed)} failed; vocoder {found['vocoder']}"
    text = f"# {title}\n\n{about}\n\n{markdown(made)}"
    result = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (args.out / "results.json").write_text(result, encoding="utf-8")
    (args.out / "results.md").write_text(text, encoding="utf-8")
    (args.out / "index.html").write_text(page(title, about, made, rows), encoding="utf-8")
    print(text)
    if failed:
        raise DataError(f"{len(failed)} utterances are not in the result; see above")


class Said(NamedTuple):
    mel: np.ndarray  # [T, F] natural log
    waveform: np.ndarray  # [samples]
    frames: np.ndarray  # [N + 2] of the start, each phoneme and the end
    attention: np.ndarray | None  # [T, N + 2] of a voice that speaks frame by frame
    row: dict[str, Any]  # what results.json tells of it


class Bench:
    """The voice, its judge, and the durations of the recordings."""

    def __init__(self, args: argparse.Namespace):
        import torch

        from speech.data.arrays import Arrays
        from speech.metrics import CHARACTER_LANGUAGES
        from speech.recognizer import load_model
        from speech.synthesizer import Synthesizer
        from speech.vocoder_folder import load_vocoder

        self.voice = Synthesizer(args.voice, args.device)
        self.device, mel = self.voice.device, self.voice.config
        self.rate, self.hop, self.hop_seconds = mel.sample_rate, mel.hop, mel.hop / mel.sample_rate
        if args.vocoder:
            vocoder = load_vocoder(args.vocoder)
            if vocoder.config.mel != mel:
                raise SpeechError(f"--vocoder {args.vocoder}: its mel is {vocoder.config.mel}, not {mel}")
            self.voice.vocoder = vocoder.to(self.device)
        self.judge = load_model(args.recognizer, args.device) if args.recognizer else None
        self.durations = Arrays(args.aligner_durations) if args.aligner_durations else None
        characters = self.judge is not None and self.judge.generation.language in CHARACTER_LANGUAGES
        self.settings = {
            "voice": Path(args.voice).resolve().name, "vocoder": type(self.voice.vocoder).__name__,
            "mel": f"{mel.n_mels} natural log-mels of {mel.low_hz:g} ... {mel.top_hz:g} Hz at {mel.sample_rate} Hz",
            "recognizer": args.recognizer and Path(args.recognizer).resolve().name,
            "normalize": args.normalize or ("zh" if characters else "en"), "threads": torch.get_num_threads(),
            "clock": "CPU seconds" if self.device.type == "cpu" else f"wall seconds on {self.device.type}",
        }  # fmt: skip

    def clock(self) -> float:
        import torch

        if self.device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def words(self, text: str, language: str) -> str:
        """A text as both sides of a comparison have it: numbers in words, normalised."""
        from speech.text.spoken import spoken

        try:
            return normalize(spoken(text, language).text, self.settings["normalize"])
        except SpeechError:  # no word in it
            return ""

    def heard(self, waveforms: Sequence[np.ndarray], language: str) -> list[str]:
        """What the judge reads; nothing where a waveform is too short for it."""
        from speech.request import UNGUARDED, Request

        assert self.judge is not None
        texts, request = [""] * len(waveforms), Request(**UNGUARDED)  # type: ignore[arg-type]
        for i, result in self.judge.transcribe_each(waveforms, request, sampling_rate=self.rate):
            texts[i] = "" if isinstance(result, AudioError) else self.words(result.text, language)
        return texts

    def through(self, module, x: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return module(torch.from_numpy(x)[None].to(self.device))[0].cpu().numpy()

    def vocode(self, log_mel: np.ndarray) -> np.ndarray:
        return self.through(self.voice.vocoder, log_mel).clip(-1, 1)

    def say(self, reading, speaker: str | None = None, language: str | None = None, durations=None) -> Said:
        """A speech.reading.Reading; a voice in one pass takes durations [N + 2] where they are given."""
        import torch

        from speech.models.fastspeech import FastSpeech
        from speech.models.tts_generate import generate
        from speech.tts_metrics import attention_jumps, focus_rate, reading_head

        model, parts, row = self.voice.model, self.voice.parts, {}
        who, tongue = parts.speaker_id(speaker), parts.phonemizer(language)[0]
        numbers = (reading.ids, len(reading.ids), who, tongue)
        ids, lengths, speakers, languages = (torch.tensor([x], device=self.device) for x in numbers)
        started = self.clock()
        with torch.inference_mode():
            if isinstance(model, FastSpeech):
                given = None if durations is None else torch.from_numpy(durations)[None].to(self.device)
                out = model.synthesize(ids, lengths, speakers, languages, given_durations=given)
                mel, attention, frames = out.mel[0], None, out.durations[0].cpu().numpy()
            else:
                expected = float(model.frames_per_phoneme) * len(reading.ids)
                options = replace(self.voice.generation, with_attention=True)
                (told,) = generate(model, ids, lengths, [expected], options, speakers)
                assert told.attention is not None
                attention = reading_head(told.attention.numpy()).repeat(model.config.reduction, 0)
                mel, frames = told.mel, np.bincount(attention.argmax(1), minlength=len(reading.ids))
                focus = float(focus_rate(attention))
                row = {"ended": told.ended, "jumps": attention_jumps(attention), "focus_rate": focus}
            log_mel = model.denormalize(mel).cpu().numpy()
        spoken = self.clock()
        waveform = self.vocode(log_mel)
        row["seconds"] = {"acoustic model": spoken - started, "vocoder": self.clock() - spoken}
        sounding = ~np.array(reading.silent)[1:-1]  # blanks and marks may have no frame
        row |= {"phonemes": int(sounding.sum()), "reached": int((frames[1:-1][sounding] > 0).sum())}
        return Said(log_mel, waveform, frames, attention, row)

    def utterance(self, cut, stem: Path | None) -> dict[str, Any]:
        """Numbers of a recording, its copy and the synthesis of its phonemes; files beginning with `stem` if given."""
        from speech.audio.pitch import pitch
        from speech.data.manifests import load_audio
        from speech.reading import Reading
        from speech.text.phonemes import given
        from speech.tts_metrics import duration_error_ms, mel_cepstral_distortion, pitch_errors

        told, parts = next(iter(cut.supervisions), None), self.voice.parts
        if told is None or not told.text or "said" not in (told.custom or {}):
            raise DataError("no phonemes, or not what was said: prepare the manifest by recipes.prepare")
        text, phonemes = str(told.custom["said"]), given(told.text)
        ids = [parts.tokenizer.bos_id, *parts.tokenizer.table.encode(phonemes), parts.tokenizer.eos_id]
        reading = Reading(text, phonemes, ids, {}, [])
        manner = told.speaker if parts.speakers else None, told.language if len(parts.languages) > 1 else None
        phonemizer = parts.phonemizer(manner[1])[1]
        said = self.say(reading, *manner)
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
            compared = {"mcd": mcd, **asdict(pitch_errors(pitches["recording"], pitches[name], path))}
            row[name] = {key: None if np.isnan(value) else value for key, value in compared.items()}
        durations = self.durations[cut.id] if self.durations is not None else None
        if durations is not None:
            if len(durations) != len(ids) or durations.sum() != len(true):
                raise DataError("its durations do not fit: let the aligner write them anew")
            row["duration_mae_ms"] = duration_error_ms(said.frames, durations, self.hop_seconds)
            if said.attention is None and durations.all():  # those of 0 the voice would choose itself
                row["mel_l1"] = float(np.abs(self.say(reading, *manner, durations).mel - true).mean())
        started = self.clock()
        phonemizer(phonemizer.spoken(text).text)
        row["seconds"]["text"] = self.clock() - started
        if stem:
            row["shown"] = self.show(stem, reading, sounds, mels, said, durations)
        return row

    def show(self, stem: Path, reading, sounds, mels, said: Said, durations) -> dict[str, Any]:
        """Sounds and pictures of an utterance, and the frames of its phonemes."""
        from speech.audio.write import write_audio
        from speech.training.plots import plot_alignment

        for name in SOUNDS:
            write_audio(f"{stem}-{name}.flac", sounds[name], self.rate)
            write_mel(Path(f"{stem}-{name}.png"), mels[name])
        symbols, frames = ["", *reading.phonemes, ""], {"recording": durations, "copy": durations}
        if said.attention is not None:
            plot_alignment(Path(f"{stem}-attention.png"), said.attention, symbols)
        else:
            frames["synthesis"] = said.frames
        known = {name: n.tolist() for name, n in frames.items() if n is not None}
        strips = {name: list(zip(symbols, n, strict=True)) for name, n in known.items()}
        return {"files": f"{stem.parent.name}/{stem.name}", "text": reading.text, "phonemes": strips}

    def hard(self, lines: Sequence[str]) -> dict[str, Any]:
        """Sentences as the text front end reads them; what cannot be spoken is told."""
        from speech.metrics import error_rates
        from speech.reading import read

        rows, unspoken, language = [], [], self.voice.parts.languages[0]
        for line in lines:
            try:
                parts = [self.say(reading) for reading in read(line, self.voice.parts)]
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
        counted = [key for key, value in rows[0].items() if not isinstance(value, str)] if rows else []
        totals = {key: sum(row[key] for row in rows) for key in counted}
        return {"sentences": len(lines), "spoken": len(rows), **totals, "unspoken": unspoken, "rows": rows}


def summary(rows: Sequence[Mapping[str, Any]], hop_seconds: float) -> dict[str, Any]:
    """What the tables tell of the utterances."""
    from speech.tts_metrics import read_back

    read = [row for row in rows if row["said"] and row["heard"]["copy"] is not None]
    heard = {name: [row["heard"][name] for row in read] for name in SOUNDS}
    frames = {name: sum(row["frames"][name] for row in rows) for name in SOUNDS}
    reading = {
        key: mean(row.get(key) for row in rows)
        for key in ("mel_mcd", "mel_l1", "duration_mae_ms", "ended", "focus_rate")
    }
    counts = {key: sum(row[key] for row in rows) for key in ("phonemes", "reached", "jumps") if key in rows[0]}
    timed = rows[1:] or rows  # the first one warms up
    seconds = hop_seconds * sum(row["frames"]["synthesis"] for row in timed)
    speed = {part: sum(row["seconds"][part] for row in timed) / seconds for part in rows[0]["seconds"]}
    return {
        "round_trip": read_back([row["said"] for row in read], heard) if read else None,
        "sound": {name: {key: mean(row[name][key] for row in rows) for key in rows[0][name]} for name in SOUNDS[1:]},
        "reading": {"rate_ratio": frames["recording"] / frames["synthesis"], **reading, **counts},
        "speed": {**speed, "all": sum(speed.values())},
    }


def mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


if __name__ == "__main__":
    run(main)
