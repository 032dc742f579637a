"""FireRedASR-AED checkpoints (arXiv 2501.14350): model.pth.tar, cmvn.ark, dict.txt, train_bpe1000.model."""

import re
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from speech.errors import SpeechError, one_line
from speech.generation import GenerationConfig
from speech.importers.names import assemble, load_pickle, rename, tensors
from speech.importers.settings import MAX_COUNT, Settings
from speech.models.aed import AED
from speech.nn.config import AEDConfig
from speech.text.base import BaseTokenizer
from speech.text.files import read_file, read_part, told_of
from speech.text.firered import FireRedTokenizer

FILES = ["model.pth.tar", "cmvn.ark", "dict.txt", "train_bpe1000.model"]
PRESET = Path(__file__).parents[1] / "presets" / "firered-aed-l.yaml"
ARGUMENTS = "arguments of the checkpoint"


def model_config(args: Settings, ctc: bool) -> AEDConfig:
    """The options of the family, at the sizes of a checkpoint; the feed-forward width is always four times d_model."""
    d = args.size("d_model")
    sizes = {"d_model": d, "n_heads": args.size("n_head"), "d_ff": 4 * d, "dropout": args.number("dropout_rate", 0.1)}
    encoder = {"n_layers": args.size("n_layers_enc", MAX_COUNT), "conv_kernel": args.size("kernel_size")}
    values = yaml.safe_load(PRESET.read_text())["model"]
    values["frontend"]["n_mels"] = args.size("idim", MAX_COUNT)
    values["encoder"] |= sizes | encoder
    values["decoder"] |= sizes | {"n_layers": args.size("n_layers_dec", MAX_COUNT)}
    return AEDConfig.from_dict({**values, "ctc": ctc})


def read_checkpoint(path: Path) -> tuple[Settings, dict[str, Tensor]]:
    """Arguments and weights of model.pth.tar. SpeechError for a file that holds more than these."""
    package = load_pickle(path, str(path))
    try:
        arguments, weights = vars(package["args"]), package["model_state_dict"]
    except (KeyError, TypeError) as error:
        raise SpeechError(f"{path}: not a FireRedASR checkpoint ({type(error).__name__}: {one_line(error)})") from None
    return Settings(arguments, ARGUMENTS), tensors(weights, f"{path}: model_state_dict")


def read_cmvn(path: Path) -> tuple[Tensor, Tensor]:
    """Mean and inverse standard deviation [F] of a Kaldi matrix of sums and squares, in its binary form."""
    with told_of(path):
        data = read_file(path)
    head = re.search(rb"\x00B([DF])M \x04(.{4})\x04(.{4})", data, re.DOTALL)
    if head is None:
        raise SpeechError(f"{path}: not a binary Kaldi matrix")
    dtype, body = np.dtype("<f8" if head[1] == b"D" else "<f4"), data[head.end() :]
    rows, columns = (int.from_bytes(size, "little") for size in head.groups()[1:])
    if rows != 2 or columns < 2 or len(body) != rows * columns * dtype.itemsize:
        raise SpeechError(f"{path}: a matrix of {rows} x {columns} in {len(data)} bytes is not CMVN statistics")
    sums, squares = np.frombuffer(body, dtype).astype(np.float64).reshape(2, -1)
    count = sums[-1]
    if not count > 0:
        raise SpeechError(f"{path}: statistics over {count} frames")
    mean = sums[:-1] / count
    variance = np.maximum(squares[:-1] / count - mean**2, 1e-20)
    return torch.from_numpy(mean).float(), torch.from_numpy(1 / np.sqrt(variance)).float()


def read(folder: Path) -> tuple[AED, BaseTokenizer, GenerationConfig]:
    """Model, tokenizer and recommended search settings of a FireRedASR folder. Version 2 writes lower case."""
    model = read_model(folder)
    with told_of(folder):
        dictionary, pieces = (read_part(folder, name) for name in ("dict.txt", "train_bpe1000.model"))
    tokenizer = FireRedTokenizer(dictionary, pieces, lowercase=model.ctc is not None)
    if tokenizer.size != model.vocab_size:
        raise SpeechError(f"{folder}: dict.txt has {tokenizer.size} tokens, the model {model.vocab_size}")
    generation = GenerationConfig(
        beam_size=3,
        length_penalty=0.6,
        max_tokens_per_second=25.0,  # one a frame of the encoder
        extra_tokens=0,
        max_seconds=60.0,
        max_repeats=10,
        language="zh",
        half=False,  # FireRedTeam/FireRedASR#25, #61
        prompt_format="firered",
        temperature=1.25,
        ended_stay=True,
    )
    return model, tokenizer, generation


def read_model(folder: Path) -> AED:
    """On the CPU in eval mode."""
    args, weights = read_checkpoint(folder / "model.pth.tar")
    emb, head = (weights.get(f"decoder.tgt_word_{name}.weight") for name in ("emb", "prj"))
    if emb is None or head is None or not torch.equal(emb, head):
        raise SpeechError(f"{folder}: embedding and output projection differ, in FireRedASR they are one")
    config, size = model_config(args, ctc="ctc.ctc_lo.weight" in weights), args.size("odim")
    mean, inv_std = read_cmvn(folder / "cmvn.ark")
    renamed = {**rename(weights, "firered"), "frontend.mean": mean, "frontend.inv_std": inv_std}
    return assemble(lambda: AED(config, size), renamed, str(folder))
