"""The Free Spoken Digit Dataset (CC BY-SA 4.0): fetched from its public repository, laid out as a corpus folder."""

import http.client
import io
import re
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from speech.errors import DataError, SpeechError

COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.zip"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TIMEOUT_SECONDS = 20
MAX_ARCHIVE_BYTES = 200 << 20  # the archive has about 17 MB
RECORDING = re.compile(r"[^/]+/recordings/(?P<file>(?P<digit>\d)_(?P<speaker>[a-z]+)_(?P<take>\d{1,4})\.wav)")


class Unreachable(SpeechError):
    """The public repository cannot be reached from here."""


def split_of(take: int) -> str:
    """The split of a speaker's `take`-th recording of a digit: 0-4 test (as the dataset says), 5-7 dev, then train."""
    return "test" if take < 5 else "dev" if take < 8 else "train"


def fetch() -> bytes:
    """The archive; Unreachable if the network fails, DataError past MAX_ARCHIVE_BYTES."""
    try:
        with urllib.request.urlopen(URL, timeout=TIMEOUT_SECONDS) as response:
            archive = response.read(MAX_ARCHIVE_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{urlsplit(URL).hostname}: {error}") from None
    if len(archive) > MAX_ARCHIVE_BYTES:
        raise DataError(f"{URL} is larger than {MAX_ARCHIVE_BYTES} bytes; give a folder as --corpus")
    return archive


def extract(archive: bytes, folder: Path) -> Path:
    """Writes the archive's `recordings/*.wav`, and no other member, to `<folder>/audio`, then the manifest.

    No name of the archive reaches the disk but those of the form digit_speaker_take.wav. DataError for a broken one.
    """
    audio = folder / "audio"
    audio.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, str, int]] = []
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as members:
            for member in members.infolist():
                if not (match := RECORDING.fullmatch(member.filename)):
                    continue
                (audio / match["file"]).write_bytes(members.read(member))
                rows.append((match["file"], match["speaker"], int(match["take"])))
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"the archive of {URL} is broken ({error}); fetch it again") from None
    if not rows:
        raise DataError(f"the archive has no recordings/*.wav; fetch {URL}")
    write_manifest(folder, sorted(rows))
    return folder


def write_manifest(folder: Path, rows: list[tuple[str, str, int]]) -> None:
    """Writes `<folder>/manifest.tsv` for (file below audio/, named by its digit first; speaker; take)."""
    lines = ["id\tspeaker\tsplit\taudio\ttext"]
    for file, speaker, take in rows:
        lines.append(f"{Path(file).stem}\t{speaker}\t{split_of(take)}\taudio/{file}\t{WORDS[int(file[0])]}")
    # Put in place whole: a folder that has a manifest has all its audio.
    partial = folder / "manifest.tsv.partial"
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(folder / "manifest.tsv")
