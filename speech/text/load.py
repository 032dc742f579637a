"""Any tokenizer from its folder or file."""

import json
from pathlib import Path
from typing import Any

from speech.errors import SpeechError
from speech.text.base import FILE, SETTINGS, BaseTokenizer
from speech.text.canary import AggregateTokenizer, UnifiedTokenizer
from speech.text.firered import FireRedTokenizer
from speech.text.phoneme_tokenizer import PhonemeTokenizer
from speech.text.spe import read_part
from speech.text.tokenizer import Tokenizer

FOREIGN = {kind.kind: kind for kind in (FireRedTokenizer, AggregateTokenizer, UnifiedTokenizer, PhonemeTokenizer)}


def load_tokenizer(path: str | Path) -> BaseTokenizer:
    """The tokenizer of a model folder or of a tokenizer.model; without a tokenizer.json a folder has our own kind.

    SpeechError for a file that is missing, broken or of another layout.
    """
    path = Path(path)
    if path.name == SETTINGS and path.is_file():
        path = path.parent
    if not path.is_dir():
        return Tokenizer.load(path)
    try:
        settings = _settings(path) if (path / SETTINGS).exists() else {"kind": Tokenizer.kind}
        kind = settings.pop("kind", None)
        foreign = FOREIGN[kind].from_folder(path, settings) if isinstance(kind, str) and kind in FOREIGN else None
        if foreign is None and kind != Tokenizer.kind:
            kinds = ", ".join([Tokenizer.kind, *FOREIGN])
            raise SpeechError(f"{SETTINGS}: kind {str(kind)[:40]!r} is not one of {kinds}")
        if unknown := sorted(set(settings) - set(foreign.settings() if foreign else ())):
            raise SpeechError(f"{SETTINGS}: {unknown[0][:40]!r} is no setting of the kind {kind}")
    except SpeechError as error:
        raise SpeechError(f"tokenizer {path}: {error}") from None
    return foreign or Tokenizer.load(path / FILE)


def _settings(folder: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_part(folder, SETTINGS))
    except (ValueError, RecursionError):
        raise SpeechError(f"{SETTINGS}: not JSON") from None
    if not isinstance(values, dict):
        raise SpeechError(f"{SETTINGS}: not a JSON object")
    return values
