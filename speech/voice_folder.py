"""A voice is a folder that explains itself: FastSpeech, its phonemes and phonemizer, perhaps a vocoder beside it."""

from dataclasses import dataclass
from pathlib import Path

from speech.errors import SpeechError
from speech.folder import check_size, load_settings, load_weights, save_settings
from speech.models.aed import count_parameters
from speech.models.fastspeech import FastSpeech
from speech.models.vocos import Vocos
from speech.nn.tts_config import FastSpeechConfig
from speech.text.load import load_tokenizer
from speech.text.phoneme_tokenizer import PhonemeTokenizer
from speech.text.phonemes import Phonemizer, load_phonemizer
from speech.vocoder_folder import load_vocoder

VOCODER = "vocoder"


@dataclass
class Voice:
    model: FastSpeech
    tokenizer: PhonemeTokenizer
    phonemizer: Phonemizer
    vocoder: Vocos | None


def save_voice(
    folder: str | Path, model: FastSpeech, tokenizer: PhonemeTokenizer, phonemizer: Phonemizer, notes: str = ""
) -> None:
    """Write the voice folder; a vocoder goes into its sub-folder `vocoder`."""
    folder = Path(folder)
    config = model.config.to_dict()
    head = {"model_type": "fastspeech", "vocab_size": model.embed.num_embeddings}
    save_settings(folder, head, config, config.pop("mel"), model)
    tokenizer.save(folder)
    phonemizer.save(folder)
    card = (
        f"---\nlibrary_name: parlance-speech\npipeline_tag: text-to-speech\n---\n\n# FastSpeech voice\n\n"
        f"{count_parameters(model):,} parameters, {model.config.mel.sample_rate} Hz, language {phonemizer.language}."
        f'\n\n{notes}\n\n```bash\nspeech synthesize -m THIS_FOLDER -f out.wav -- "text"\n```\n'
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def load_voice(folder: str | Path) -> Voice:
    """In eval mode on the CPU. A missing, corrupt or mismatched file is one SpeechError naming it."""
    folder = Path(folder)
    config, mel = load_settings(folder, "fastspeech")
    size = config.pop("vocab_size", None)
    tokenizer = load_tokenizer(folder)
    if not isinstance(tokenizer, PhonemeTokenizer):
        raise SpeechError(f"voice folder {folder}: its tokenizer has no phonemes")
    check_size(folder, tokenizer.size, size)
    model = load_weights(folder, lambda: FastSpeech(FastSpeechConfig.from_dict({**config, "mel": mel}), size))
    vocoder = load_vocoder(folder / VOCODER) if (folder / VOCODER).is_dir() else None
    if vocoder is not None and vocoder.config.mel != model.config.mel:
        raise SpeechError(
            f"voice folder {folder}: the mel of its vocoder is {vocoder.config.mel}, not {model.config.mel}"
        )
    return Voice(model, tokenizer, load_phonemizer(folder), vocoder)
