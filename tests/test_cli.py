"""The command as people type it: exit codes, one-line errors, files written."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech.cli import main
from speech.cli_transcribe import FORMATS, _plan_outputs
from speech.errors import SpeechError

COMMANDS = (
    [],
    ["train"],
    ["evaluate"],
    ["transcribe"],
    ["synthesize"],
    ["average"],
    ["data"],
    ["data", "validate"],
    ["data", "files"],
    ["data", "bins"],
    ["data", "batch-sizes"],
    ["data", "shar"],
    ["models"],
    ["import"],
    ["export"],
    ["doctor"],
)


def run(*argv: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in argv])
    return ended.value.code if isinstance(ended.value.code, int) else 0


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    x = np.sin(np.arange(8000) * 2 * np.pi * 440 / 8000).astype(np.float32) * 0.3
    soundfile.write(tmp_path / "a.wav", x, 8000)
    return tmp_path / "a.wav"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_comes_without_torch(command: list[str]):
    code = (
        "import sys; from speech.cli import main\n"
        f"try: main({[*command, '--help']!r})\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules and 'lhotse' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {' '.join(['speech', *command])} ")


def test_settings_say_what_they_mean(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--data.batch_seconds BATCH_SECONDS audio seconds per batch, padding included" in text


def test_transcribe_writes_every_format_and_loses_nothing(
    tiny_model: Path, wav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    twin = tmp_path / "other" / "a.wav"
    twin.parent.mkdir()
    twin.write_bytes(wav.read_bytes())
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    out = tmp_path / "out"
    assert run("transcribe", tiny_model, wav, bad, twin, tmp_path / "none.wav", "-o", out) == 1
    said = capsys.readouterr()
    assert {path.name for path in out.iterdir()} == {f"{stem}.{f}" for stem in ("a", "a-2") for f in FORMATS}
    assert len(said.err.splitlines()) == 2 and "bad.wav" in said.err and "none.wav" in said.err
    transcript = json.loads((out / "a.json").read_text())
    assert transcript["duration"] == pytest.approx(1.0)
    assert (out / "a.txt").read_text() == "".join(s["text"] + "\n" for s in transcript["segments"])
    assert (out / "a.vtt").read_text().startswith("WEBVTT\n")
    for name in ("txt", "vtt", "srt", "tsv"):
        assert (out / f"a.{name}").read_bytes() == (out / f"a-2.{name}").read_bytes()
    assert json.loads((out / "a-2.json").read_text())["text"] == transcript["text"]


def test_no_output_is_written_over():
    found = [path.name for path in _plan_outputs(["a.wav", "b/a.wav", "a-2.wav", "c/a.wav", "a-2.mp3"], Path("out"))]
    assert found == ["a", "a-2", "a-2-2", "a-3", "a-2-3"]


@pytest.mark.parametrize(("flags", "name"), [([], "txt"), (["-f", "srt", "--quiet"], "srt")])
def test_what_comes_by_a_pipe_leaves_by_one(
    flags: list[str], name: str, exported: Path, wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert run("transcribe", exported, wav, "-f", name, "-o", tmp_path / "out") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"a.{name}"]
    (tmp_path / "empty").mkdir()
    code = f"from speech.cli import main; main({['transcribe', str(exported), '-', '--device', 'cpu', *flags]!r})"
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=wav.read_bytes(), capture_output=True, cwd=tmp_path / "empty")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (tmp_path / "out" / f"a.{name}").read_bytes() != b""
    assert not list((tmp_path / "empty").iterdir())
    done = subprocess.run(command, input=b"no audio", capture_output=True, cwd=tmp_path / "empty")
    assert done.returncode == 1 and done.stderr.startswith(b"error: <stdin>: not audio of a known kind")


@pytest.mark.parametrize("choice", ["auto", "false"])
def test_drafts_can_be_left_out(
    choice: str, exported: Path, wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from speech.search.speculative import Speculative

    drafts = []
    monkeypatch.setattr("speech.transcriber.Speculative", lambda *given: drafts.append(1) or Speculative(*given))
    assert run("transcribe", exported, wav, "--speculative", choice, "--device", "cpu", "-o", tmp_path) == 0
    assert bool(drafts) == (choice == "auto")


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["transcribe", "{tmp}/nowhere", "x.wav"], 2, "nowhere does not exist"),
        (["transcribe", "{model}", "{wav}", "--language", "xx", "-o", "{tmp}"], 2, "language 'xx' is not one of en"),
        (["transcribe", "{model}", "{wav}", "-o", "{wav}/x"], 2, "give another --output_dir"),
        (["transcribe", "{model}", "{wav}", "--beam_size", "0", "-o", "{tmp}"], 2, "beam_size"),
        (["data", "validate", "{tmp}/none.jsonl"], 1, "none.jsonl: cannot be read"),
        (["train"], 2, "data.train is empty: give --data.train PATH"),
        (["train", "--config", "{tmp}/none.yaml"], 2, "none.yaml"),
        (["train", "--config", "{tmp}/unknown.yaml"], 2, "'encoder.n_layer'"),
        (["train", "--config", "{tmp}/type.yaml"], 2, '"optim.lr": Expected a float. Got value: fast'),
        (["train", "--config", "{tmp}/broken.yaml"], 2, "parsing"),
        (["train", "--config", "{tmp}/object.yaml"], 2, "object"),
        (["train", "--model.decoder.n_layer", "3"], 2, "--model.decoder.n_layer"),
        (["train", "--train.max_steps", "0"], 2, "train.max_steps 0 must be above 0"),
        (["train", "--data.batch_seconds", "-3"], 2, "data.batch_seconds -3.0 must be above 0"),
        (["train", "--data.pool_cuts", "null"], 2, "pool_cuts"),
        (["train", "--data.quadratic_seconds", "-1"], 2, "data.quadratic_seconds -1.0 must be 0 or more"),
        (["train", "--data.batch_sizes", "s.json"], 2, "data.batch_sizes needs the data.bins it was made for"),
        (["data", "bins", "cuts.jsonl"], 2, "data.tokenizer is empty: give --data.tokenizer PATH"),
        (["data", "bins", "cuts.jsonl", "--buckets", "many"], 2, "buckets"),
        (["data", "batch-sizes", "--data.bins", "b.json"], 2, "data.batch_sizes is empty"),
        (["train", "--data.augment.speeds", "[1, 0]"], 2, "data.augment.speeds [1.0, 0.0] needs factors above 0"),
        (["train", "--optim.betas", "[0.9]"], 2, "optim.betas"),
    ],
)
def test_a_user_fault_is_one_line(
    argv: list[str],
    code: int,
    message: str,
    tiny_model: Path,
    wav: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "unknown.yaml").write_text("model:\n  encoder: {n_layer: 3}\n")
    (tmp_path / "type.yaml").write_text("optim: {lr: fast}\n")
    (tmp_path / "broken.yaml").write_text("optim: [1\n")
    (tmp_path / "object.yaml").write_text("data: !!python/object/apply:os.system ['touch canary']\n")
    filled = [a.format(tmp=tmp_path, model=tiny_model, wav=wav) for a in argv]
    assert run(*filled) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not Path("canary").exists()


def test_later_files_and_flags_win(tmp_path: Path):
    from speech.config import parse
    from speech.training.config import AEDRecipe

    (tmp_path / "a.yaml").write_text("optim: {lr: 1e-3, warmup_steps: 7}\nmodel: {encoder: {d_model: 96}}\n")
    (tmp_path / "b.yaml").write_text("optim: {lr: 2e-3}\n")
    files = ["--config", str(tmp_path / "a.yaml"), "--config", str(tmp_path / "b.yaml")]
    recipe = parse(AEDRecipe, [*files, "--model.encoder.d_model", "64"], "x", "")
    assert (recipe.optim.lr, recipe.optim.warmup_steps, recipe.model.encoder.d_model) == (2e-3, 7, 64)


CONF = sorted(Path(__file__).parents[1].glob("egs/**/conf/*.yaml"))
VOICES = [path for path in CONF if "tts" in path.parts]


@pytest.mark.parametrize("path", [path for path in CONF if path not in VOICES], ids=str)
def test_the_configurations_of_the_recognisers_build(path: Path):
    from speech.config import parse
    from speech.models.aed import AED
    from speech.training.config import AEDRecipe

    recipe = parse(AEDRecipe, ["--config", str(path)], "x", "")
    AED(recipe.model, 100)


@pytest.mark.parametrize("path", [path for path in VOICES if not path.stem.endswith("finishing")], ids=str)
def test_the_configurations_of_the_voices_build_and_share_their_mel(path: Path):
    import torch

    from speech.config import parse
    from speech.models.fastspeech import FastSpeech
    from speech.models.transformer_tts import TransformerTTS
    from speech.models.vocos import Vocos
    from speech.training.vocoder_config import VocoderRecipe
    from speech.training.voice_config import AlignerRecipe, FastSpeechRecipe, TransformerTTSRecipe

    mels = [parse(AlignerRecipe, ["--config", str(path)], "x", "", "aligner").mel]
    there = path.read_text()
    made = {"fastspeech": FastSpeechRecipe, "transformer_tts": TransformerTTSRecipe, "vocoder": VocoderRecipe}
    recipes = {part: parse(kind, ["--config", str(path)], "x", "", part) for part, kind in made.items()}  # type: ignore
    with torch.device("meta"):
        FastSpeech(recipes["fastspeech"].model, 100)
        TransformerTTS(recipes["transformer_tts"].model, 100)
        Vocos(recipes["vocoder"].model)
    mels += [recipe.model.mel for part, recipe in recipes.items() if f"\n{part}:" in there]
    assert all(mel == mels[0] for mel in mels)
    finishing = path.with_stem(f"{path.stem}-finishing")
    assert finishing.exists() == ("\nvocoder:" in there)
    if finishing.exists():
        files = ["--config", str(path), "--config", str(finishing)]
        finished = parse(VocoderRecipe, files, "x", "", "vocoder")
        assert finished.model == recipes["vocoder"].model and finished.optim.lr < recipes["vocoder"].optim.lr


def test_a_file_of_a_voice_has_known_parts(tmp_path: Path):
    from speech.config import parse
    from speech.training.voice_config import AlignerRecipe

    path = tmp_path / "a.yaml"
    path.write_text("aligner: {hard_share: 0.5}\nfastspeach: {}\n")
    with pytest.raises(SpeechError, match="'fastspeach' is not one of its parts aligner, fastspeech"):
        parse(AlignerRecipe, ["--config", str(path)], "x", "", "aligner")
    path.write_text("aligner: {hard_share: 0.5}\nvocoder: {no: 1}\n")
    assert parse(AlignerRecipe, ["--config", str(path)], "x", "", "aligner").hard_share == 0.5


def test_an_unexpected_fault_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("speech.cli.validate", lambda args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["data", "validate", "x.jsonl"])
    assert not issubclass(ZeroDivisionError, SpeechError)
