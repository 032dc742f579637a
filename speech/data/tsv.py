"""Corpus folders: a `manifest.tsv` and its audio become lhotse cuts."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource
from tqdm import tqdm

from speech.audio.decode import probe
from speech.errors import DataError

SPLITS = ("train", "dev", "test")
COLUMNS = ("id", "speaker", "split", "audio", "text")


@dataclass(frozen=True)
class Utterance:
    """One line of a corpus: an audio file and what is said in it."""

    id: str
    audio: Path
    text: str
    speaker: str
    language: str
    custom: dict[str, str] = field(default_factory=dict)


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) of a tab-separated UTF-8 file with a header that has at least `columns`.

    Quotes are ordinary characters. DataError with the line number for a row of another length than the header.
    """
    try:
        # Only "\n" and "\r\n" end a line: U+2028 and its kind may stand in a transcript.
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the folder that holds it") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8; save the table as UTF-8") from None
    header = lines[0].rstrip("\r").split("\t")
    if missing := [name for name in columns if name not in header]:
        raise DataError(f"{path}, line 1: no column {', '.join(missing)} among {', '.join(header)}")
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        fields = line.rstrip("\r").split("\t")
        if len(fields) != len(header):
            raise DataError(f"{path}, line {number}: {len(fields)} fields, but the header names {len(header)}")
        yield number, dict(zip(header, fields, strict=True))


def make_cuts(utterances: Iterable[Utterance], name: str) -> CutSet:
    """One MonoCut a file, with the length counted by `probe`; `name` labels the progress bar.

    A file of several channels is one cut on channel 0 whose source lists them all: loading averages them to mono.
    """
    bar = tqdm(utterances, desc=name, unit=" files", disable=not sys.stderr.isatty())
    return CutSet.from_cuts(_cut(utterance) for utterance in bar).to_eager()


def cuts_from_folder(folder: str | Path, language: str = "en") -> dict[str, CutSet]:
    """Cuts by split, in the order of `<folder>/manifest.tsv`: columns id, speaker, split, audio, text and any more.

    `audio` is relative to the folder and stays inside it. A `duration` column is not trusted, the file is measured;
    other columns go to `supervision.custom` as text. DataError names the line; AudioError the unusable file.
    """
    folder = Path(folder).resolve()
    manifest = folder / "manifest.tsv"
    ids: set[str] = set()
    by_split: dict[str, list[Utterance]] = {split: [] for split in SPLITS}
    for number, row in read_table(manifest, COLUMNS):
        where = f"{manifest}, line {number}"
        if row["id"] in ids:
            raise DataError(f"{where}: the id '{row['id']}' stands on an earlier line too")
        if row["split"] not in SPLITS:
            raise DataError(f"{where}: split '{row['split']}' is not one of {', '.join(SPLITS)}")
        ids.add(row["id"])
        by_split[row["split"]].append(
            Utterance(
                id=row["id"],
                audio=audio_path(folder, row["audio"], where),
                text=row["text"],
                speaker=row["speaker"],
                language=language,
                custom={key: value for key, value in row.items() if key not in (*COLUMNS, "duration")},
            )
        )
    if not ids:
        raise DataError(f"{manifest}: no rows below the header")
    return {split: make_cuts(rows, f"{folder.name} {split}") for split, rows in by_split.items() if rows}


def audio_path(folder: Path, name: str, where: str) -> Path:
    """The file `name` below `folder`; DataError at `where` for a name that leads out of it or to no file."""
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise DataError(f"{where}: audio '{name}' leads out of the folder; give a path relative to {folder}")
    path = folder / relative
    if not os.path.isfile(path):  # Path.is_file raises for a name that is too long
        raise DataError(f"{where}: no audio file {path}")
    return path


def _cut(utterance: Utterance) -> MonoCut:
    info = probe(utterance.audio)
    seconds = info.num_samples / info.sample_rate
    recording = Recording(
        id=utterance.id,
        sources=[AudioSource(type="file", channels=list(range(info.channels)), source=str(utterance.audio))],
        sampling_rate=info.sample_rate,
        num_samples=info.num_samples,
        duration=seconds,
    )
    supervision = SupervisionSegment(
        id=utterance.id,
        recording_id=utterance.id,
        start=0.0,
        duration=seconds,
        text=utterance.text,
        speaker=utterance.speaker,
        language=utterance.language,
        custom=utterance.custom or None,
    )
    return MonoCut(
        id=utterance.id, start=0.0, duration=seconds, channel=0, recording=recording, supervisions=[supervision]
    )
