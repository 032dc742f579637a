"""A public checkpoint becomes a model folder."""

from pathlib import Path

from speech.errors import SpeechError
from speech.folder import save_model
from speech.importers import canary, firered

FAMILIES = {"firered": firered.read, "canary": canary.read}
NOTES = {
    "firered": "Imported from a FireRedASR-AED checkpoint (Apache-2.0). Activations reach 3000: fp16 gives garbage.",
    "canary": "Imported from a NeMo Canary archive. The licence is that of its weights: canary-1b is CC-BY-NC-4.0, the "
    "others are CC-BY-4.0.",
}


def convert(family: str, source: Path, out: Path) -> str:
    """Read a checkpoint, write the model folder, say what it is. SpeechError for an `out` that is in use."""
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise SpeechError(f"{out}: exists and is not empty; give another folder")
    model, tokenizer, generation = FAMILIES[family](source)
    save_model(out, model, tokenizer, generation, NOTES[family])
    parameters = sum(p.numel() for p in model.parameters())
    return f"{out}: {parameters:,} parameters, {tokenizer.size} tokens, languages {', '.join(tokenizer.languages)}"
