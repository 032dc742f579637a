"""Graphs of tiny models for many tests, made by one process beside the first of them: tracing takes a minute or two."""

import fcntl
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

ROOT = os.environ.get("SPEECH_FIXTURES")
CASES = sorted(path.parent for path in Path(ROOT).glob("*/case.json")) if ROOT else []
TEXTS = ("zero one two three four five six seven eight nine", "hello world")


class Exports:
    """`exports(name)` is the folder of a job, once it is done. A job that fails leaves the others alone.

    Of several processes of tests that share a folder the first starts the jobs.
    """

    def __init__(self, folder: Path, names: Iterable[str]):
        self.folder, self.log, self.process = folder, folder / "log", None
        try:
            folder.mkdir()
        except FileExistsError:
            return
        with (part := folder / "log.part").open("wb") as log:
            fcntl.flock(log, fcntl.LOCK_EX)  # until the process of the jobs ends
            command = [sys.executable, __file__, str(folder), *names]
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        part.rename(self.log)

    def __call__(self, name: str) -> Path:
        ended, failed = False, self.folder / f"{name}.failed"
        while not (made := self.folder / name).exists():
            assert not failed.exists(), f"{name} was not exported:\n{failed.read_text()}"
            assert not ended, f"{name} was not exported:\n{self.log.read_text()}"
            ended = self.ended()  # then it may have been made in between
            time.sleep(0.1)
        return made

    def ended(self) -> bool:
        if not self.log.exists():
            return False
        with self.log.open("rb") as log:
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def end(self, others: bool) -> None:
        """What `others` may wait for is made first."""
        if self.process is not None:
            if not others:
                self.process.kill()
            self.process.wait()


def tiny_model(folder: Path) -> Path:
    """A recogniser at 8 kHz with beam 1 by default. Its weights are random: it says something, not the truth."""
    import torch

    from speech.folder import save_model
    from speech.generation import GenerationConfig
    from speech.models.aed import AED
    from speech.nn.config import AEDConfig, DecoderConfig, EncoderConfig, FrontendConfig
    from speech.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.train(TEXTS, folder / "spm" / "tokenizer.model", 64, byte_fallback=False)
    size = dict(d_model=16, n_layers=1, n_heads=2, d_ff=32)
    config = AEDConfig(
        FrontendConfig(sample_rate=8000, n_mels=20),
        EncoderConfig(**size, subsampling_channels=8, conv_kernel=5),
        DecoderConfig(**size, max_tokens=64),
    )
    torch.manual_seed(0)
    model = AED(config, tokenizer.size).eval()
    save_model(folder / "model", model, tokenizer, GenerationConfig(pad_seconds=0.1))
    return folder / "model"


def recognizer(folder: Path) -> None:
    from export.package import export_aed

    export_aed(tiny_model(folder / "torch"), folder / "onnx", ["int8", "32"])


def voices(folder: Path) -> None:
    """Two speakers each; the FastSpeech has all controls."""
    from tiny_voice import fastspeech, parts, saved, transformer_tts

    from export.voice_package import export_voice

    for kind, model in (("fastspeech", fastspeech()), ("transformer_tts", transformer_tts(n_speakers=2))):
        export_voice(saved(folder / kind, model, parts()), folder / f"{kind}_graphs", ["32"])


def plain_voice(folder: Path) -> None:
    from docs_workspace import tiny_voice

    from export.voice_package import export_voice

    export_voice(tiny_voice(folder / "voice"), folder / "onnx", ["32", "int8"])


def reference(folder: Path, case: Path) -> None:
    """Sound goes in as it is."""
    from export.package import export_aed
    from speech.folder import save_model
    from speech.importers import canary, firered

    model, tokenizer, generation = (
        firered.read(case) if (case / "model.pth.tar").exists() else canary.read(case / "model.nemo")
    )
    save_model(folder / "model", model, tokenizer, replace(generation, min_seconds=0.0, pad_seconds=0.0))
    export_aed(folder / "model", folder / "onnx", ["32"])


JOBS: dict[str, Callable[[Path], None]] = {job.__name__: job for job in (recognizer, voices, plain_voice)}
JOBS |= {case.name: lambda folder, case=case: reference(folder, case) for case in CASES}


def main(out: Path, names: list[str]) -> None:
    sys.path.append(str(Path(__file__).parent.parent))  # `export` is no folder of tests
    for name in names:
        part = out / f"{name}.part"
        part.mkdir()
        try:
            JOBS[name](part)
            part.rename(out / name)
        except Exception:  # it is told where the folder is wanted
            (told := out / f"{name}.told").write_text(traceback.format_exc())
            told.rename(out / f"{name}.failed")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
