"""A voice is a folder that explains itself: FastSpeech or Transformer TTS, texts, speakers, perhaps a vocoder."""

from dataclasses import asdict, dataclass
from pathlib import Path

from speech.errors import SpeechError
from speech.folder import check_size, load_settings, load_weights, save_card, save_settings, write_json
from speech.models.aed import count_parameters
from speech.models.fastspeech import FastSpeech
from speech.models.transformer_tts import TransformerTTS
from speech.models.vocos import Vocos
from speech.nn.transformer_tts_config import GenerateOptions, TransformerTTSConfig
from speech.nn.tts_config import FastSpeechConfig
from speech.talker import GENERATION
from speech.text.files import read_object, told_of
from speech.vocoder_folder import load_vocoder
from speech.voice_parts import VoiceParts, load_parts, save_parts

VOCODER = "vocoder"
MAX_FACTOR = 200.0  # a folder of unknown origin must not ask for hours
KINDS = {"fastspeech": (FastSpeech, FastSpeechConfig), "transformer_tts": (TransformerTTS, TransformerTTSConfig)}


@dataclass
class Voice:
    model: FastSpeech | TransformerTTS
    parts: VoiceParts
    vocoder: Vocos | None
    generation: GenerateOptions  # of a Transformer TTS


def save_voice(folder: str | Path, model: FastSpeech | TransformerTTS, parts: VoiceParts, notes: str = "") -> None:
    """Write the voice folder; a vocoder goes into its sub-folder `vocoder`."""
    folder = Path(folder)
    _check_embeddings(model.config, parts)
    kind = next(kind for kind, (cls, _) in KINDS.items() if isinstance(model, cls))
    save_settings(folder, kind, model, "mel", vocab_size=model.embed.num_embeddings)
    save_parts(folder, parts)
    if isinstance(model, TransformerTTS):
        generation = {name: value for name, value in asdict(GenerateOptions()).items() if name != "with_attention"}
        write_json(folder / GENERATION, generation)
    about = f"{count_parameters(model):,} parameters, {model.config.mel.sample_rate} Hz"
    about += f", languages: {', '.join(parts.languages)}"
    about += f", speakers: {', '.join(parts.speakers)}" * bool(parts.speakers)
    command = 'speech synthesize -m THIS_FOLDER -f out.wav -- "text"'
    save_card(folder, "text-to-speech", f"{type(model).__name__} voice", f"{about}.", notes, command)


def load_voice(folder: str | Path) -> Voice:
    """In eval mode on the CPU. A missing, corrupt or mismatched file is one SpeechError naming it."""
    folder = Path(folder)
    kind = read_object(folder, "config.json").get("model_type")
    if kind not in [*KINDS]:
        raise SpeechError(f"voice folder {folder}: model_type in config.json is not one of {', '.join(KINDS)}")
    config, (cls, config_cls) = load_settings(folder, kind, "mel"), KINDS[kind]
    parts = load_parts(folder)
    size = parts.tokenizer.size
    check_size(folder, size, config.pop("vocab_size", None))
    model = load_weights(folder, lambda: cls(config_cls.from_dict(config), size))
    vocoder = load_vocoder(folder / VOCODER) if (folder / VOCODER).is_dir() else None
    with told_of(f"voice folder {folder}"):
        if vocoder is not None and vocoder.config.mel != model.config.mel:
            raise SpeechError(f"the mel of its vocoder is {vocoder.config.mel}, not {model.config.mel}")
        _check_embeddings(model.config, parts)
        generation = _generation(folder, model) if isinstance(model, TransformerTTS) else GenerateOptions()
    return Voice(model, parts, vocoder, generation)


def _check_embeddings(config: FastSpeechConfig | TransformerTTSConfig, parts: VoiceParts) -> None:
    """A Transformer TTS hears languages by their phonemes alone."""
    found = {"n_speakers": max(1, len(parts.speakers))}
    if isinstance(config, FastSpeechConfig):
        found["n_languages"] = len(parts.phonemizers)
    for name, count in found.items():
        if getattr(config, name) != count:
            raise SpeechError(f"model.{name} is {getattr(config, name)}, but the voice names {count}")


def _generation(folder: Path, model: TransformerTTS) -> GenerateOptions:
    values = read_object(folder, GENERATION)
    try:
        heads = tuple((int(layer), int(head)) for layer, head in values.pop("window_heads", ()))
        options = GenerateOptions(window_heads=heads, **values)
    except (TypeError, ValueError) as error:
        raise SpeechError(f"{GENERATION}: {error}") from None
    for name, value in values.items():
        kinds = int | float if isinstance(getattr(GenerateOptions, name), float) else int
        if not isinstance(value, kinds) and (name, value) != ("seed", None):
            raise SpeechError(f"{GENERATION}: {name} {str(value)[:40]!r} is no number that it can be")
    for name, value in (("max_times_expected", options.max_times_expected),
                        ("frames_per_phoneme", float(model.frames_per_phoneme))):  # fmt: skip
        if not 0 < value <= MAX_FACTOR:
            raise SpeechError(f"{name} {value:g} is not above 0 and at most {MAX_FACTOR:g}")
    return options
