"""Checkpoints from the hub, with a hub that lies in a folder."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from speech.cli import main
from speech.errors import SpeechError
from speech.importers import hub

FOLDER = Path(__file__).parent / "data" / "canary_folder"
CANARY = ["config.json", "processor_config.json", "tokenizer.json"]
WEIGHTS = ["model*.safetensors", "model.safetensors.index.json"]
FIRERED = ["model.pth.tar", "cmvn.ark", "dict.txt", "train_bpe1000.model", "README.md", "config.yaml"]


@pytest.fixture
def asked(monkeypatch):
    """Every call; `files` are what the model has, an exception in `fails` is raised."""
    calls = SimpleNamespace(files=["config.json"], fails=None, seen=[])

    def answer(kind, value):
        def call(name, *arguments, **options):
            calls.seen.append((kind, name, *arguments, options))
            if calls.fails is not None:
                raise calls.fails
            return value()

        return call

    def info():
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in calls.files], sha="abc123")

    monkeypatch.setattr(hub, "HfApi", lambda: SimpleNamespace(model_info=answer("info", info)))
    monkeypatch.setattr(hub, "hf_hub_download", answer("file", lambda: "/cache/x.nemo"))
    monkeypatch.setattr(hub, "snapshot_download", answer("folder", lambda: str(FOLDER)))
    return calls


def test_of_canary_the_archive_is_preferred(asked):
    asked.files = ["README.md", "canary-1b-v2.nemo", "config.json", "model.safetensors", "old/canary.nemo"]
    assert hub.fetch("canary", "nvidia/canary-1b-v2")[0] == Path("/cache/x.nemo")
    assert asked.seen[1] == ("file", "nvidia/canary-1b-v2", "canary-1b-v2.nemo", {"revision": "abc123"})


@pytest.mark.parametrize(
    ("family", "files", "wanted"),
    [
        ("firered", FIRERED, FIRERED[:4]),
        ("canary", [*CANARY, "model-00001-of-00002.safetensors", "model.py"], [*CANARY, *WEIGHTS]),
    ],
)
def test_nothing_but_the_files_of_the_family_is_fetched(asked, family, files, wanted):
    asked.files = files
    path, origin = hub.fetch(family, "org/name")
    assert path == FOLDER and origin == "org/name at revision abc123"
    kind, _, options = asked.seen[1]
    assert kind == "folder" and options["revision"] == "abc123"
    assert sorted(options["allow_patterns"]) == sorted(wanted)


def test_the_command_imports_from_the_hub(asked, tmp_path, capsys):
    asked.files = [path.name for path in FOLDER.iterdir()]
    with pytest.raises(SystemExit) as done:
        main(["import", "canary", "org/name", str(tmp_path / "model"), "--hub"])
    assert done.value.code == 0 and "62 tokens" in capsys.readouterr().out
    assert "Source: org/name at revision abc123." in (tmp_path / "model" / "README.md").read_text()


def test_a_folder_in_use_is_refused_before_anything_is_fetched(asked, tmp_path, capsys):
    (tmp_path / "x").write_text("")
    with pytest.raises(SystemExit) as done:
        main(["import", "canary", "org/name", str(tmp_path), "--hub"])
    assert done.value.code == 2 and not asked.seen
    assert "exists and is not empty" in capsys.readouterr().err


class ConnectError(Exception):
    """As that of the HTTP library, which the hub's client lets through."""


REFUSED = SimpleNamespace(headers={}, request=None)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (GatedRepoError("no", response=REFUSED), "^org/name is gated: accept its terms on its page, then log in with"),
        (RepositoryNotFoundError("no", response=REFUSED), "^org/name: no such model on the hub, or it is private"),
        (ConnectError("[Errno -2]\nName or service"), r"fetched from the hub: ConnectError: \[Errno -2\] Name"),
        (OSError(28, "No space left on device"), "cannot be fetched from the hub: OSError: .*No space left"),
    ],
    ids=["gated", "unknown", "no network", "no space"],
)
def test_what_went_wrong_is_one_line(asked, error, message):
    asked.fails = error
    with pytest.raises(SpeechError, match=message) as caught:
        hub.fetch("canary", "org/name")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("family", "files", "message"),
    [
        ("firered", FIRERED[:2], "no firered checkpoint: it has no dict.txt, train_bpe1000.model"),
        ("canary", CANARY[:1], "canary checkpoint: it has no processor_config.json, tokenizer.json"),
        ("canary", ["a.nemo", "b.nemo"], "org/name has several archives, a.nemo, b.nemo"),
    ],
)
def test_a_repository_of_something_else_is_refused(asked, family, files, message):
    asked.files = files
    with pytest.raises(SpeechError, match=message):
        hub.fetch(family, "org/name")
    assert len(asked.seen) == 1


@pytest.mark.parametrize("name", ["canary-1b-v2", "a/b/c", "", "../../etc/x"])
def test_a_name_without_its_owner_is_refused(asked, name):
    with pytest.raises(SpeechError, match="is not the name of a model on the hub: give ORG/NAME"):
        hub.fetch("canary", name)
    assert not asked.seen
