"""A corpus of one or several speakers -> manifests whose texts are phonemes, and the phonemes of the voice.

python -m recipes.prepare.voice --corpus DIR --out DIR --phonemizer espeak --language en-us
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from lhotse import CutSet, MonoCut
from lhotse.cut import Cut

from recipes.prepare.corpus import Report, make_folder, write
from speech.data.manifests import load_audio
from speech.data.tsv import cuts_from_folder
from speech.errors import AudioError, DataError, SpeechError, run
from speech.text.phoneme_table import PhonemeTable
from speech.text.phoneme_tokenizer import PhonemeTokenizer, written
from speech.text.phonemes import Phonemizer, load_phonemizer, read_words

EDGE_DB, EDGE_SECONDS, FRAME_SECONDS = -40.0, 0.05, 0.01  # sound below the first is trimmed, but for the second


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with manifest.tsv and its audio")
    parser.add_argument("--out", type=Path, required=True, help="folder for the manifests and voice/")
    parser.add_argument("--speaker", help="only this one (default: all)")
    add_phonemizer(parser)
    args = parser.parse_args(argv)
    splits = cuts_from_folder(args.corpus, args.language)
    if args.speaker:
        splits = {split: of_speaker(cuts, args.speaker, split) for split, cuts in splits.items()}
    print(write_voice(splits, args.out, phonemizer_of(args)))


def add_phonemizer(parser: argparse.ArgumentParser) -> None:
    kinds = ("lexicon", "espeak", "pinyin", "phonemes")
    parser.add_argument(
        "--phonemizer", choices=kinds, default="lexicon", help="default: lexicon, letters where it ends"
    )
    parser.add_argument("--language", default="en", help="code of the language, for espeak also of a voice as en-us")
    parser.add_argument("--lexicon", type=Path, help="word<TAB>phonemes a line, which win over the phonemizer's own")


def phonemizer_of(args: argparse.Namespace) -> Phonemizer:
    words = read_words(args.lexicon) if args.lexicon else {}
    return load_phonemizer({"kind": args.phonemizer, "language": args.language, "words": words})


def of_speaker(cuts: CutSet, speaker: str, split: str) -> CutSet:
    kept = [cut for cut in list(cuts) if cut.supervisions[0].speaker == speaker]
    if not kept:
        there = sorted({cut.supervisions[0].speaker or "" for cut in list(cuts)})
        raise DataError(f"{split}: nothing of the speaker '{speaker}'; there are {', '.join(there)}")
    return CutSet.from_cuts(kept)


def write_voice(splits: Mapping[str, Iterable[Cut]], out: Path, phonemizer: Phonemizer) -> Report:
    """`<out>/<split>.jsonl.gz` and `<out>/voice`: the phonemizer, and the phonemes of the training set with their ids.

    What was said goes to `custom` as `said`. A text or sound that cannot be used is dropped and counted.
    """
    make_folder(out)
    report, kept = Report(), {split: [] for split in splits}
    tokens: dict[str, list[str]] = {}
    for split, cuts in splits.items():
        for cut in cuts:
            try:
                tokens[cut.id] = phonemizer(phonemizer.spoken(cut.supervisions[0].text or "").text)
                kept[split].append(_trimmed(cut))
            except (SpeechError, AudioError) as error:
                reason = str(error).split(";")[0][:60]
                report.dropped[split, reason] = report.dropped[split, reason].plus(cut)
    table = PhonemeTable.build(tokens[cut.id] for cut in kept["train"])
    known = set(table.symbols)
    for split, cuts in kept.items():
        fit = []
        for cut in cuts:
            if strange := sorted(set(tokens[cut.id]) - known):
                reason = f"phoneme {strange[0]} is not in train"
                report.dropped[split, reason] = report.dropped[split, reason].plus(cut)
                continue
            fit.append(_with_phonemes(cut, written(tokens[cut.id])))
        if not fit:
            raise DataError(f"{split}: nothing is left of it; see the texts and the phonemizer")
        write(fit, out, split, report)
    voice = out / "voice"
    make_folder(voice)
    PhonemeTokenizer(table, phonemizer.language).save(voice)
    phonemizer.save(voice)
    return report


def _with_phonemes(cut: Cut, phonemes: str) -> Cut:
    def change(supervision):
        custom = {**(supervision.custom or {}), "said": supervision.text}
        return supervision.transform_text(lambda _: phonemes).with_custom("said", custom["said"])

    return cut.map_supervisions(change)


def _trimmed(cut: Cut) -> Cut:
    """Without the silence at its edges; joined cuts were made without much."""
    if not isinstance(cut, MonoCut):
        return cut
    x = load_audio(cut, cut.sampling_rate)
    hop = round(FRAME_SECONDS * cut.sampling_rate)
    level = np.sqrt((x[: len(x) // hop * hop].reshape(-1, hop) ** 2).mean(1))
    loud = np.flatnonzero(level > level.max(initial=0.0) * 10 ** (EDGE_DB / 20))
    if not len(loud):
        raise DataError("silence")
    begin = max(0.0, loud[0] * FRAME_SECONDS - EDGE_SECONDS)
    end = min(cut.duration, (loud[-1] + 1) * FRAME_SECONDS + EDGE_SECONDS)
    trimmed = cut.truncate(offset=begin, duration=end - begin)
    return trimmed.with_id(cut.id)


if __name__ == "__main__":
    run(main)
