"""Checkpoints from the Hugging Face Hub: the files that a family needs and no others, never code."""

from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeVar

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from speech.errors import SpeechError, one_line
from speech.importers import canary_folder, firered

T = TypeVar("T")


def fetch(family: str, name: str) -> tuple[Path, str]:
    """File or folder of the model ORG/NAME in the cache of huggingface_hub, and the name with its revision.

    Of Canary the .nemo archive where there is one: it may have an aligner, which the folder of transformers has not.
    """
    if name.count("/") != 1:
        raise SpeechError(f"{name!r} is not the name of a model on the hub: give ORG/NAME, or leave out --hub")
    info = _asked(name, lambda: HfApi().model_info(name))
    files, revision = [sibling.rfilename for sibling in info.siblings or []], info.sha
    archives = [file for file in files if file.endswith(".nemo") and "/" not in file]
    if family == "canary" and len(archives) > 1:
        raise SpeechError(f"{name} has several archives, {', '.join(archives)}: download one, give it without --hub")
    if family == "canary" and archives:
        path = _asked(name, lambda: hf_hub_download(name, archives[0], revision=revision))
    else:
        wanted = firered.FILES if family == "firered" else canary_folder.FILES
        if missing := [w for w in wanted if w != canary_folder.INDEX and not any(fnmatch(file, w) for file in files)]:
            raise SpeechError(f"{name} is no {family} checkpoint: it has no {', '.join(missing)}")
        path = _asked(name, lambda: snapshot_download(name, revision=revision, allow_patterns=wanted))
    return Path(path), f"{name} at revision {revision}"


def _asked(name: str, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except GatedRepoError:
        raise SpeechError(f"{name} is gated: accept its terms on its page, then log in with `hf auth login`") from None
    except RepositoryNotFoundError:
        raise SpeechError(f"{name}: no such model on the hub, or it is private; log in with `hf auth login`") from None
    except Exception as error:  # of the hub's client and of the HTTP library below it, which changes with its version
        raise SpeechError(f"{name} cannot be fetched from the hub: {type(error).__name__}: {one_line(error)}") from None
