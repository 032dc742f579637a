"""A folder with all that commands of the docs name: tiny models, recordings, corpora, the scripts of the recipes."""

import os
import shutil
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
FIXTURES = Path(os.environ.get("SPEECH_FIXTURES", "/nowhere"))
CHECKPOINTS = {  # what is imported: its place, and what it is made into
    "FireRedASR-AED-L": (FIXTURES / "firered_aed_tiny", "models/firered-l"),
    "canary-1b-v2.nemo": (FIXTURES / "canary_tiny" / "model.nemo", "models/canary-v2"),
    "canary-hf": (ROOT / "tests" / "importers" / "data" / "canary_folder", "models/canary-hf"),
}
DIGITS = ("one two three", "four nine", "eight one", "hello one")  # letters that all tiny models know
SENTENCES = ("The 3rd train leaves at 7:45.", "One, two.")
SPLITS = (*["train"] * 6, "dev", "dev", "test", "test")


def voiced(seconds: float, rate: int, seed: int) -> np.ndarray:
    """A buzz of 150 Hz with a pitch, and a little noise."""
    t, rng = np.arange(round(seconds * rate)) / rate, np.random.default_rng(seed)
    return 0.1 * sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(1, 8)) + rng.normal(0, 0.01, len(t))


def corpus(folder: Path, texts: tuple[str, ...], seconds: float, rate: int) -> None:
    lines = ["id\tspeaker\tsplit\taudio\ttext"]
    (folder / "audio").mkdir(parents=True)
    for i, split in enumerate(SPLITS):
        soundfile.write(folder / "audio" / f"s{i}.wav", voiced(seconds + i / 10, rate, i), rate)
        lines.append(f"s{i}\tann\t{split}\taudio/s{i}.wav\t{texts[i % len(texts)]}")
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def scripts(folder: Path) -> None:
    """The recipes without their stages, which other tests run: options are read, what is none of theirs is printed."""
    for pattern in ("*.sh", "*/run.sh", "*/*/run.sh", "*/conf/*.yaml", "*/*/conf/*.yaml"):
        for source in (ROOT / "egs").glob(pattern):
            path = folder / source.relative_to(ROOT / "egs")
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, path)
    with (folder / "common.sh").open("a") as file:
        file.write("\nsetup() { stage=99; }\nspeech() { :; }\n")
        file.write('took() { [ -z "$corpus" ] || [ -e "$corpus" ]; printf %s "${rest[*]-}"; }\n')


def tiny_voice(folder: Path) -> Path:
    """One speaker who reads letters."""
    from tiny_voice import PLAIN, fastspeech, parts, saved

    return saved(folder, fastspeech(PLAIN), parts((), ("de",)))


def make_workspace(folder: Path, model: Path, exported: Path, voice: Path, exported_voice: Path) -> Path:
    scripts(folder / "egs")
    copies = {
        "model": model, "egs/digits/exp/model": model, "onnx": exported, "models/digits": exported,
        "voice": voice, "egs/digits/tts/exp/small/fastspeech/voice": voice,
        "voice-onnx": exported_voice, "models/voice": exported_voice,
    }  # fmt: skip
    for name, source in copies.items():
        shutil.copytree(source, folder / name)
    for name, (source, _) in CHECKPOINTS.items():
        if source.exists():
            (folder / name).symlink_to(source)
    corpus(folder / "my_corpus", DIGITS, 1.0, 16000)
    corpus(folder / "my_voice", SENTENCES, 1.5, 22050)
    (folder / "more").mkdir()
    for name in ("recording.wav", "more/a.mp3", "more/b.mp3"):
        soundfile.write(folder / name, voiced(1.0, 16000, len(name)), 16000)
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text in SENTENCES))
    return folder
