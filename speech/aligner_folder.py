"""The aligner beside a recogniser: the sub-folder `aligner` of its model folder, a CTC model and its vocabulary."""

from dataclasses import dataclass
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from speech.folder import check_size, load_settings, load_weights, save_settings
from speech.models.ctc import CTCConfig, CTCModel
from speech.nn.config import EncoderConfig, FrontendConfig
from speech.text.base import FILE
from speech.text.files import read_part, told_of
from speech.text.spe import open_spe

ALIGNER = "aligner"


@dataclass
class Aligner:
    model: CTCModel
    spe: SentencePieceProcessor

    def encode(self, text: str) -> list[int]:
        """Ids that the columns of `model.log_probs` have for a text; `<unk>` for what is outside the vocabulary."""
        return self.spe.encode(text)


def save_aligner(folder: str | Path, aligner: Aligner) -> None:
    """Write the aligner's own folder."""
    save_settings(Path(folder), "ctc", aligner.model, "frontend", vocab_size=aligner.model.vocab_size)
    (Path(folder) / FILE).write_bytes(aligner.spe.serialized_model_proto())


def load_aligner(folder: str | Path) -> Aligner:
    """Of the aligner's own folder, on the CPU. A missing, corrupt or mismatched file is one SpeechError naming it."""
    folder = Path(folder)
    config = load_settings(folder, "ctc", "frontend")
    with told_of(folder):
        spe = open_spe(read_part(folder, FILE), FILE)
    size = spe.get_piece_size()
    check_size(folder, size, config.pop("vocab_size", None))

    def make() -> CTCModel:
        parts = FrontendConfig(**config.pop("frontend")), EncoderConfig(**config.pop("encoder"))
        return CTCModel(CTCConfig(*parts, **config), size)

    return Aligner(load_weights(folder, make), spe)
