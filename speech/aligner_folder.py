"""The aligner beside a recogniser: the sub-folder `aligner` of its model folder, a CTC model and its vocabulary."""

from dataclasses import dataclass
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from speech.errors import SpeechError
from speech.folder import check_size, load_config, load_weights, save_weights
from speech.models.ctc import CTCConfig, CTCModel
from speech.text.base import FILE
from speech.text.spe import open_spe, pieces_of, read_part

ALIGNER = "aligner"


@dataclass
class Aligner:
    model: CTCModel
    spe: SentencePieceProcessor

    @property
    def pieces(self) -> list[str]:
        return pieces_of(self.spe)

    def encode(self, text: str) -> list[int]:
        """Ids that the columns of `model.log_probs` have for a text; `<unk>` for what is outside the vocabulary."""
        return self.spe.encode(text)


def save_aligner(folder: str | Path, aligner: Aligner) -> None:
    """Write the aligner's own folder."""
    save_weights(Path(folder), "ctc", aligner.model)
    (Path(folder) / FILE).write_bytes(aligner.spe.serialized_model_proto())


def load_aligner(folder: str | Path) -> Aligner:
    """Of the aligner's own folder, on the CPU. A missing, corrupt or mismatched file is one SpeechError naming it."""
    folder = Path(folder)
    config, size = load_config(folder, "ctc")
    try:
        spe = open_spe(read_part(folder, FILE), FILE)
    except SpeechError as error:
        raise SpeechError(f"model folder {folder}: {error}") from None
    check_size(folder, spe.get_piece_size(), size)
    return Aligner(load_weights(folder, lambda: CTCModel(CTCConfig.from_dict(config), size)), spe)
