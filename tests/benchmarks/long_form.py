"""Twenty minutes in one run: a read chapter by the model of egs/commonvoice, joined digits by that of egs/digits.

    bash egs/commonvoice/asr/run.sh && bash egs/digits/run.sh && python tests/benchmarks/long_form.py

SPEECH_CORPORA needs long_en. Chapter: errors, loops, memory, how far the ends of the segments are from the next end of
a word, whether the words that were recognised lie in the segment of the reference that has them, and where the CTC head
puts the last words of the segments when it is told the text, as it is told what the decoder wrote otherwise. Digits:
strings of the test set one after the other in one recording, against the strings alone: errors, and the times of the
last words, which are known.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import jiwer
import numpy as np
import soundfile as sf
import torch
import torchaudio.functional as AF

from speech.audio.decode import decode
from speech.data.manifests import load_audio, open_manifest
from speech.recognizer import Recognizer, load_model
from speech.text.normalize import normalize
from speech.transcript import Word

EGS = Path(__file__).resolve().parents[2] / "egs"


def repeats(words: list[str], longest: int = 8) -> int:
    """How often a block of up to `longest` words stands in a row at most."""
    most = 1
    for n in range(1, longest + 1):
        run = 0
        for i in range(n, len(words)):
            run = run + 1 if words[i] == words[i - n] else 0
            most = max(most, 1 + run // n)
    return most


def in_place(rows: list[list[str]], words: list[Word], slack: float) -> tuple[int, int]:
    """Words that were recognised, and how many of them lie within `slack` seconds of their segment."""
    reference = [(word, i) for i, row in enumerate(rows) for word in normalize(row[3], "en").split()]
    chunks = jiwer.process_words(" ".join(w for w, _ in reference), " ".join(w.word for w in words)).alignments[0]
    known = right = 0
    for chunk in chunks:
        for k in range(chunk.ref_end_idx - chunk.ref_start_idx if chunk.type == "equal" else 0):
            row, word = rows[reference[chunk.ref_start_idx + k][1]], words[chunk.hyp_start_idx + k]
            known += 1
            right += float(row[1]) - slack <= word.start and word.end <= float(row[2]) + slack
    return known, right


def told_ends(model: Recognizer, sound: np.ndarray, rows: list[list[str]], seconds: float = 10.0) -> np.ndarray:
    """Where the CTC head ends the last word of each row, in seconds: one path for the whole text over the whole sound.

    It hears pieces of `seconds` with 1.2 s more on both sides. torchaudio's path is the one of `ctc_align`, which keeps
    a score for every token at every frame, too much for a quarter of an hour.
    """
    blank, frame = model.tokenizer.blank_id, round(model.frame_seconds * model.sample_rate)
    assert blank is not None
    total, step, more = len(sound) // frame, round(seconds / model.frame_seconds), round(1.2 / model.frame_seconds)
    pad = round(model.generation.pad_seconds / model.frame_seconds)
    heard = []
    for at in range(0, total, step):
        low = max(0, at - more)
        piece = model.encode([sound[low * frame : min(total, at + step + more) * frame]])
        heard.append(model.ctc_log_probs(piece, 0)[pad + at - low :][: min(step, total - at)])
    ids = [model.tokenizer.encode(normalize(row[3], "en")) for row in rows]
    text = torch.tensor([[token for row in ids for token in row]])
    path = AF.forced_align(torch.from_numpy(np.concatenate(heard))[None], text, blank=blank)[0][0].numpy()
    token = np.cumsum((path != blank) & (path != np.concatenate([[blank], path[:-1]])))  # how many have begun
    last = np.cumsum([len(row) for row in ids])
    return np.array([np.flatnonzero((token == n) & (path != blank))[-1] + 1 for n in last]) * model.frame_seconds


def chapter(model: Recognizer, corpus: Path) -> None:
    rows = [
        line.split("\t")
        for line in (corpus / "LJ001_chapter.segments.tsv").read_text().splitlines()
        if line[:2] == "LJ"
    ]
    loaded = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    sound, peaks, found, spent = decode(corpus / "LJ001_chapter.opus", model.sample_rate), [], {}, []
    with tempfile.TemporaryDirectory() as folder:
        for times in (1, 3):
            with sf.SoundFile(f"{folder}/{times}.flac", "w", model.sample_rate, 1) as file:
                for _ in range(times):
                    file.write(sound)
        del sound
        for times in (1, 3):
            began = time.process_time()
            found[times] = model.transcribe(f"{folder}/{times}.flac", word_timestamps=True)
            peaks.append((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - loaded) / 2**20)
            spent.append(time.process_time() - began)
    once, reference = found[1], " ".join(normalize(row[3], "en") for row in rows)
    print(
        f"Chapter: {once.duration:.0f} s, {len(once.segments)} segments, {once.duration / spent[0]:.0f} s a CPU second"
    )
    print(f"WER {100 * jiwer.wer(reference, once.text):.1f} %", end="; ")
    print(f"a block of up to 8 words stands at most {repeats(once.text.split())} times in a row")
    print(f"peak above the loaded model: {peaks[0]:.0f} MiB, for three times the chapter {peaks[1]:.0f} MiB")
    ends = np.array([word.end for word in once.words])
    far = np.array([np.abs(ends - float(row[2])).min() for row in rows])
    print(
        f"from the ends of the {len(rows)} segments to the next end of a word: {np.median(far):.2f} s in the median",
        end=", ",
    )
    print(f"{far.max():.2f} s at most, {np.mean(far <= 1):.1%} within 1 s")
    sound = decode(corpus / "LJ001_chapter.opus", model.sample_rate)
    off = np.abs(told_ends(model, sound, rows) - [float(row[2]) for row in rows])
    print(f"told the text, the CTC head ends the segments {np.median(off):.2f} s off in the median", end=", ")
    print(f"{off.max():.2f} s at most, {np.mean(off <= 1):.1%} within 1 s")
    known, right = in_place(rows, once.words, 1.0)
    print(f"{known} words recognised, {right} of them ({right / known:.0%}) within 1 s of the segment that has them\n")


def digits(model: Recognizer, manifest: Path) -> None:
    rng, at, parts, texts, ends = np.random.default_rng(0), 0.0, [], [], []
    for cut in open_manifest(manifest):
        sound, pause = load_audio(cut, model.sample_rate), rng.uniform(0.3, 1.0)
        if at + cut.duration + pause > 1200:
            break
        parts += [sound, np.zeros(round(pause * model.sample_rate), np.float32)]
        texts.append(cut.supervisions[0].text)
        last = cut.tracks[-1]
        ends.append(at + last.offset + last.cut.duration)
        at += (len(parts[-1]) + len(sound)) / model.sample_rate
    long = np.concatenate(parts)
    long += 10**-2.5 * np.sqrt(np.mean(long**2)) * rng.standard_normal(len(long)).astype(np.float32)
    asked = dict(sampling_rate=model.sample_rate, word_timestamps=True)
    found = model.transcribe(long, **asked)
    alone = model.transcribe(parts[::2], **asked)
    print(
        f"Digits: {len(texts)} strings in {len(long) / model.sample_rate:.0f} s, pauses of 0.3 to 1 s, noise at -50 dB"
    )
    print(f"WER {100 * jiwer.wer(' '.join(texts), found.text):.2f} %", end=", ")
    print(f"of the strings alone {100 * jiwer.wer(texts, [t.text for t in alone]):.2f} %")
    heard = np.array([word.end for word in found.words])
    off = np.array([np.abs(heard - end).min() for end in ends])
    print(f"ends of the strings: median {1000 * np.median(off):.0f} ms, within 1 s {np.mean(off < 1):.1%}", end=", ")
    print(f"95 % within {1000 * np.percentile(off, 95):.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chapter_model", default=EGS / "commonvoice/asr/exp/small/model")
    parser.add_argument("--digit_model", default=EGS / "digits/exp/model")
    parser.add_argument("--digit_manifest", default=EGS / "digits/data/test.jsonl.gz")
    args = parser.parse_args()
    torch.set_num_threads(1)
    chapter(load_model(args.chapter_model, "cpu"), Path(os.environ["SPEECH_CORPORA"]) / "long_en")
    digits(load_model(args.digit_model, "cpu"), args.digit_manifest)


if __name__ == "__main__":
    main()
