"""A corpus of one or several speakers -> manifests whose texts are phonemes, and the phonemes of the voice.

python -m recipes.prepare.voice --corpus DIR --out DIR --phonemizer espeak --language en-us
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from lhotse import CutSet, MonoCut
from lhotse.cut import Cut
from lhotse.utils import fastcopy

from recipes.prepare.corpus import Report, make_parser, write
from speech.data.manifests import load_audio
from speech.data.tsv import cuts_from_folder
from speech.errors import DataError, SpeechError, run
from speech.text.phoneme_table import PhonemeTable
from speech.text.phoneme_tokenizer import PhonemeTokenizer, written
from speech.text.phonemes import Phonemizer, load_phonemizer, read_words
from speech.voice_parts import VoiceParts, save_parts

EDGE_DB, EDGE_SECONDS, FRAME_SECONDS = -40.0, 0.05, 0.01  # sound below the first is trimmed, but for the second


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__, "folder with manifest.tsv and its audio", required=True)
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
    parser.add_argument("--language", default="en", help="code of the language, for espeak also of a voice as en-us; "
                        "a column `language` of the manifest wins")  # fmt: skip
    parser.add_argument("--lexicon", type=Path, help="word<TAB>phonemes a line, for --language; they win over the "
                        "phonemizer's own")  # fmt: skip


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
    """`<out>/<split>.jsonl.gz` and `<out>/voice`: the phonemes, languages and speakers of the training set.

    A cut with a `language` in its `custom` is read by a phonemizer of that language and the same kind. What was said
    goes to `custom` as `said`. What cannot be used, or is not in train, is dropped and counted.
    """
    report = Report()
    readers = {phonemizer.language: phonemizer}
    found: dict[str, list[tuple[Cut, list[str]]]] = {split: [] for split in ("train", *splits)}
    for split, cuts in splits.items():
        for cut in cuts:
            said = cut.supervisions[0]
            language, text = (said.custom or {}).get("language") or phonemizer.language, said.text or ""
            try:
                if not text.strip():
                    raise DataError("no text")
                if language not in readers:
                    readers[language] = load_phonemizer({"kind": phonemizer.kind, "language": language})
                tokens = readers[language](readers[language].spoken(text).text)
                cut = _trimmed(cut).map_supervisions(lambda s, language=language: fastcopy(s, language=language))
                found[split].append((cut, tokens))
            except SpeechError as error:
                report.drop(split, str(error).split(";")[0][:60], cut)
    table = PhonemeTable.build(tokens for _, tokens in found["train"])
    train = [cut.supervisions[0] for cut, _ in found["train"]]
    languages, speakers = {said.language for said in train}, {said.speaker or "" for said in train}
    known = {trait for cut, tokens in found["train"] for trait in _traits(cut, tokens)}
    for split, cuts in found.items():
        fit = []
        for cut, tokens in cuts:
            if strange := next((trait for trait in _traits(cut, tokens) if trait not in known), None):
                report.drop(split, f"{strange} is not in train", cut)
            else:
                fit.append(_with_phonemes(cut, written(tokens)))
        if not fit:
            raise DataError(f"{split}: nothing is left of it; {report}")
        write(fit, out, split, report)
    phonemizers = [reader for language, reader in readers.items() if language in languages]
    names = sorted(speakers) if len(speakers) > 1 else []
    save_parts(out / "voice", VoiceParts(PhonemeTokenizer(table, phonemizers[0].language), phonemizers, names))
    return report


def _traits(cut: Cut, tokens: Iterable[str]) -> list[str]:
    said = cut.supervisions[0]
    return [f"language {said.language}", f"speaker {said.speaker or ''}", *(f"phoneme {token}" for token in tokens)]


def _with_phonemes(cut: Cut, phonemes: str) -> Cut:
    return cut.map_supervisions(lambda s: s.with_custom("said", s.text).transform_text(lambda _: phonemes))


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
    return cut.truncate(offset=begin, duration=end - begin).with_id(cut.id)


if __name__ == "__main__":
    run(main)
