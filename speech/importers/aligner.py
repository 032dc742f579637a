"""The aligner inside the archive of canary-1b-v2: a FastConformer with a CTC head (arXiv 2509.14128 section 5)."""

from pathlib import Path

from speech.aligner_folder import Aligner
from speech.errors import SpeechError
from speech.importers.names import assemble, rename
from speech.importers.nemo import MAX_CONFIG_BYTES, Archive, acoustic_config, scale_input
from speech.models.ctc import CTCConfig, CTCModel
from speech.text.spe import open_spe

CONFIG, WEIGHTS = "timestamps_asr_model_config.yaml", "timestamps_asr_model_weights.ckpt"


def read(path: Path) -> Aligner | None:
    """None for an archive without one."""
    archive = Archive(path)
    if not {CONFIG, WEIGHTS} & set(archive.members):
        return None
    config = archive.config(CONFIG)
    settings = CTCConfig(*acoustic_config(config))
    spe = open_spe(archive.read(config.text("tokenizer.model_path"), MAX_CONFIG_BYTES), f"{CONFIG}: tokenizer")
    size, classes = spe.get_piece_size(), config.get("decoder.num_classes", -1)
    if classes not in (-1, size):  # -1: as many as the tokenizer has
        raise SpeechError(f"{CONFIG}: decoder.num_classes {classes!r} and a tokenizer of {size} pieces do not agree")
    weights = rename(archive.weights(WEIGHTS), "nemo")
    head = weights.get("head.weight")
    if head is not None and head.ndim == 3:  # a convolution of kernel 1
        weights["head.weight"] = head.squeeze(-1)
    scale_input(weights, config, "encoder.xscaling", settings.encoder.d_model)
    model = assemble(lambda: CTCModel(settings, size), weights, f"{path}: {WEIGHTS}")
    return Aligner(model, spe)
