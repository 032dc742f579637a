"""A public checkpoint becomes a model folder."""

from pathlib import Path

from speech.aligner_folder import ALIGNER, Aligner, save_aligner
from speech.errors import SpeechError
from speech.folder import save_model
from speech.generation import GenerationConfig
from speech.importers import canary, canary_folder, firered
from speech.importers.aligner import read as read_aligner
from speech.models.aed import AED
from speech.text.base import BaseTokenizer

NOTES = {
    "firered": "Imported from a FireRedASR-AED checkpoint (Apache-2.0). Activations reach 3000: fp16 gives garbage.",
    "canary": "Imported from a Canary checkpoint. The licence is that of its weights: canary-1b is CC-BY-NC-4.0, the "
    "others are CC-BY-4.0.",
}


def convert(family: str, source: str | Path, out: Path, hub: bool = False) -> str:
    """Read a checkpoint, write the model folder, say what it is. SpeechError for an `out` that is in use.

    With `hub` the source is the ORG/NAME of a model on the Hugging Face Hub.
    """
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise SpeechError(f"{out}: exists and is not empty; give another folder")
    notes = NOTES[family]
    if hub:
        from speech.importers.hub import fetch  # 0.5 s, which a checkpoint at hand does not need

        source, revision = fetch(family, str(source))
        notes += f" Source: {revision}."
    (model, tokenizer, generation), aligner = _read(family, Path(source))
    save_model(out, model, tokenizer, generation, notes)
    if aligner is not None:
        save_aligner(out / ALIGNER, aligner)
    parameters = sum(p.numel() for p in model.parameters())
    what = f"{parameters:,} parameters, {tokenizer.size} tokens, languages {', '.join(tokenizer.languages)}"
    return f"{out}: {what}{', with an aligner for word times' if aligner is not None else ''}"


def _read(family: str, source: Path) -> tuple[tuple[AED, BaseTokenizer, GenerationConfig], Aligner | None]:
    if family == "firered":
        return firered.read(source), None
    if source.is_dir():
        return canary_folder.read(source), None
    return canary.read(source), read_aligner(source)
