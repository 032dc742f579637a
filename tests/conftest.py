"""A tiny recogniser that several rooms are tested with. Its weights are random: it says something, not the truth."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: tiny models lose time to a second thread

TEXTS = ("zero one two three four five six seven eight nine", "hello world")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model folder at 8 kHz with beam 1 by default."""
    import torch

    from speech.folder import save_model
    from speech.generation import GenerationConfig
    from speech.models.aed import AED
    from speech.nn.config import AEDConfig, DecoderConfig, EncoderConfig, FrontendConfig
    from speech.text.tokenizer import Tokenizer

    folder = tmp_path_factory.mktemp("tiny")
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


@pytest.fixture(scope="session")
def exported(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its graphs in precisions 32 and int8."""
    from export.package import export_aed

    export_aed(tiny_model, out := tmp_path_factory.mktemp("exported"), ["int8", "32"])
    return out


@pytest.fixture(scope="session")
def voice_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Voices of two speakers and their graphs in precision 32, by kind; the FastSpeech has all controls."""
    from tiny_voice import fastspeech, parts, saved, transformer_tts

    from export.voice_package import export_voice

    found = {}
    for kind, model in (("fastspeech", fastspeech()), ("transformer_tts", transformer_tts(n_speakers=2))):
        found[kind] = saved(tmp_path_factory.mktemp(kind), model, parts()), tmp_path_factory.mktemp(f"{kind}_graphs")
        export_voice(*found[kind], ["32"])
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Trainings first: some fork, and an export starts threads of autograd that no fork survives."""
    items.sort(key=lambda item: item.path.parent.name != "training")
