"""Any tokenizer from its folder or file."""

from pathlib import Path

from speech.errors import SpeechError
from speech.text.base import SETTINGS, BaseTokenizer
from speech.text.canary import AggregateTokenizer, UnifiedTokenizer
from speech.text.files import read_object, told_of
from speech.text.firered import FireRedTokenizer
from speech.text.phoneme_tokenizer import PhonemeTokenizer
from speech.text.tokenizer import Tokenizer

KINDS = {
    kind.kind: kind for kind in (Tokenizer, FireRedTokenizer, AggregateTokenizer, UnifiedTokenizer, PhonemeTokenizer)
}


def load_tokenizer(path: str | Path) -> BaseTokenizer:
    """The tokenizer of a model folder or of a tokenizer.model; without a tokenizer.json a folder has our own kind.

    SpeechError for a file that is missing, broken or of another layout.
    """
    path = Path(path)
    if path.name == SETTINGS and path.is_file():
        path = path.parent
    if not path.is_dir():
        return Tokenizer.load(path)
    with told_of(f"tokenizer {path}"):
        settings = read_object(path, SETTINGS) if (path / SETTINGS).exists() else {"kind": Tokenizer.kind}
        kind = settings.pop("kind", None)
        if not isinstance(kind, str) or kind not in KINDS:
            raise SpeechError(f"{SETTINGS}: kind {str(kind)[:40]!r} is not one of {', '.join(KINDS)}")
        tokenizer = KINDS[kind].from_folder(path, settings)
        if unknown := sorted(set(settings) - set(tokenizer.settings())):
            raise SpeechError(f"{SETTINGS}: {unknown[0][:40]!r} is no setting of the kind {kind}")
        return tokenizer
