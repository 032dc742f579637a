"""Ray's workers say what one process says, each file once, also when one of them dies."""

import os
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serve.deploy import ray_transcribe
from speech.bulk import Results
from speech.cli import main

pytestmark = [
    pytest.mark.slow,  # a minute to start Ray
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is missing: pip install 'parlance-speech[ray]'"),
]


@pytest.fixture
def two_cpus() -> Iterator[None]:
    import ray  # pyright: ignore[reportMissingImports]

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_a_worker_that_dies_is_replaced_and_loses_nothing(
    two_cpus: None, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    paths = [str(tmp_path / f"{i:02d}.wav") for i in range(50)]
    for i, path in enumerate(paths):
        noise = np.random.default_rng(i).normal(size=4000 + 100 * i).clip(-3, 3) / 10
        soundfile.write(path, noise, 8000)
    Path(paths[7]).write_text("no audio")
    died, at_work = tmp_path / "died", tmp_path / "at_work"
    at_work.mkdir()

    class Mortal(ray_transcribe.Worker):
        def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, list]:
            (at_work / str(os.getpid())).touch()
            if paths[40] in rows["path"] and not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(rows)

    monkeypatch.setattr(ray_transcribe, "Worker", Mortal)
    with Results(tmp_path / "out.jsonl"):
        pass
    with pytest.raises(SystemExit):
        main(["transcribe", str(exported), *paths[:3], "--jsonl", str(tmp_path / "out.jsonl"), "--quiet"])
    begun = (tmp_path / "out.jsonl").read_bytes()
    argv = [str(exported), *paths, "--jsonl", str(tmp_path / "out.jsonl"), "--workers", "2", "--batch_size", "1"]
    assert ray_transcribe.main(argv) == 1
    assert died.exists() and len(list(at_work.iterdir())) > 1
    with pytest.raises(SystemExit) as ended:
        main(["transcribe", str(exported), *paths, "--jsonl", str(tmp_path / "one.jsonl"), "--batch_size", "1"])
    assert ended.value.code == 1
    found = (tmp_path / "out.jsonl").read_bytes()
    assert found.startswith(begun)
    assert sorted(found.splitlines()) == sorted((tmp_path / "one.jsonl").read_bytes().splitlines())
    assert ray_transcribe.main(argv) == 1 and (tmp_path / "out.jsonl").read_bytes() == found
