"""A tiny recogniser that several rooms are tested with, and graphs of it and of tiny voices."""

import os
from collections.abc import Iterator
from pathlib import Path

import exports
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: tiny models lose time to a second thread
JOBS_OF = {"exported": ["recognizer"], "voice_folders": ["voices"], "plain_voice": ["plain_voice"]}
JOBS_OF["reference"] = [case.name for case in exports.CASES]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exports.tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session", autouse=True)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[exports.Exports | None]:
    """Exports for all tests that were chosen, in a folder that all workers of pytest-xdist see."""
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    names = [job for fixture, jobs in JOBS_OF.items() if fixture in wanted for job in jobs]
    worker, base = "PYTEST_XDIST_WORKER" in os.environ, tmp_path_factory.getbasetemp()
    running = exports.Exports((base.parent if worker else base) / "exports", names) if names else None
    yield running
    if running is not None:
        running.end(others=worker)


@pytest.fixture(scope="session")
def exported(made: exports.Exports) -> Path:
    """Graphs of the tiny model in precisions 32 and int8."""
    return made("recognizer") / "onnx"


@pytest.fixture(scope="session")
def voice_folders(made: exports.Exports) -> dict[str, tuple[Path, Path]]:
    """Voices of two speakers and their graphs in precision 32, by kind; the FastSpeech has all controls."""
    folder = made("voices")
    return {kind: (folder / kind, folder / f"{kind}_graphs") for kind in ("fastspeech", "transformer_tts")}


@pytest.fixture(scope="session")
def plain_voice(made: exports.Exports) -> tuple[Path, Path]:
    """A voice of one speaker and its graphs."""
    return made("plain_voice") / "voice", made("plain_voice") / "onnx"


@pytest.fixture(scope="session")
def reference(made: exports.Exports) -> exports.Exports:
    """Folders of reference cases by name."""
    return made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Trainings first: some fork, and an export starts threads of autograd that no fork survives."""
    items.sort(key=lambda item: item.path.parent.name != "training")
