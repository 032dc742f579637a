"""FireRedASR-AED checkpoints (arXiv 2501.14350): model.pth.tar, cmvn.ark, dict.txt, train_bpe1000.model."""

import argparse
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speech.errors import SpeechError, one_line
from speech.generation import GenerationConfig
from speech.importers.names import assemble, rename
from speech.importers.settings import MAX_COUNT, Settings
from speech.models.aed import AED
from speech.nn.config import AEDConfig, DecoderConfig, EncoderConfig, FrontendConfig
from speech.text.base import BaseTokenizer
from speech.text.firered import FireRedTokenizer

FILES = ["model.pth.tar", "cmvn.ark", "dict.txt", "train_bpe1000.model"]
BLOCK = r"encoder\.layer_stack\.(\d+)\."
OURS = r"encoder.blocks.\1."
LAYER = r"decoder\.layer_stack\.(\d+)\."
RULES = [
    (r"encoder\.input_preprocessor\.conv\.0\.(\w+)", r"encoder.subsampling.conv.0.\1"),
    (r"encoder\.input_preprocessor\.conv\.2\.(\w+)", r"encoder.subsampling.conv.1.\1"),
    (r"encoder\.input_preprocessor\.out\.(\w+)", r"encoder.subsampling.out.\1"),
    (BLOCK + r"ffn(\d)\.net\.0\.(\w+)", OURS + r"ff\2.norm.\3"),
    (BLOCK + r"ffn(\d)\.net\.1\.(\w+)", OURS + r"ff\2.inner.\3"),
    (BLOCK + r"ffn(\d)\.net\.4\.(\w+)", OURS + r"ff\2.outer.\3"),
    (BLOCK + r"mhsa\.pos_bias_u", OURS + r"attn.u"),
    (BLOCK + r"mhsa\.pos_bias_v", OURS + r"attn.v_pos"),
    (BLOCK + r"mhsa\.w_([qkv])s\.weight", OURS + r"attn.\2.weight"),
    (BLOCK + r"mhsa\.fc\.weight", OURS + r"attn.out.weight"),
    (BLOCK + r"mhsa\.linear_pos\.weight", OURS + r"attn.pos.weight"),
    (BLOCK + r"mhsa\.layer_norm_([qkv])\.(\w+)", OURS + r"attn.norms.\2.\3"),
    (BLOCK + r"conv\.pre_layer_norm\.(\w+)", OURS + r"conv.norm_in.\2"),
    (BLOCK + r"conv\.batch_norm\.(\w+)", OURS + r"conv.norm.\2"),  # a layer norm by another name
    (BLOCK + r"conv\.pointwise_conv(\d)\.weight", OURS + r"conv.pointwise\2.weight"),
    (BLOCK + r"conv\.depthwise_conv\.weight", OURS + r"conv.depthwise.weight"),
    (BLOCK + r"layer_norm\.(\w+)", OURS + r"norm.\2"),
    (r"decoder\.tgt_word_emb\.weight", r"decoder.embed.weight"),
    (LAYER + r"self_attn_norm\.(\w+)", r"decoder.layers.\1.self_norm.\2"),
    (LAYER + r"cross_attn_norm\.(\w+)", r"decoder.layers.\1.cross_norm.\2"),
    (LAYER + r"mlp_norm\.(\w+)", r"decoder.layers.\1.ff.norm.\2"),
    (LAYER + r"self_attn\.w_([qkv])s\.(\w+)", r"decoder.layers.\1.attn.\2.\3"),
    (LAYER + r"cross_attn\.w_([qkv])s\.(\w+)", r"decoder.layers.\1.cross.\2.\3"),
    (LAYER + r"self_attn\.fc\.(\w+)", r"decoder.layers.\1.attn.out.\2"),
    (LAYER + r"cross_attn\.fc\.(\w+)", r"decoder.layers.\1.cross.out.\2"),
    (LAYER + r"mlp\.w_1\.(\w+)", r"decoder.layers.\1.ff.inner.\2"),
    (LAYER + r"mlp\.w_2\.(\w+)", r"decoder.layers.\1.ff.outer.\2"),
    (r"decoder\.layer_norm_out\.(\w+)", r"decoder.norm.\1"),
    (r"ctc\.ctc_lo\.(\w+)", r"ctc.\1"),  # version 2
]
DROPPED = [r"encoder\.positional_encoding\.pe", r"decoder\.positional_encoding\.pe", r"decoder\.tgt_word_prj\.weight"]


def model_config(arguments: dict[str, Any], ctc: bool) -> AEDConfig:
    """Settings of the family at the sizes of a checkpoint; the feed-forward width is always four times the model's."""
    args = Settings(arguments, "arguments of the checkpoint")
    d, heads, dropout = args.size("d_model"), args.size("n_head"), args.number("dropout_rate", 0.1)
    return AEDConfig(
        frontend=FrontendConfig(
            kind="kaldi", n_mels=args.size("idim", MAX_COUNT), wave_scale=32768.0, low_hz=20.0, norm="global"
        ),
        encoder=EncoderConfig(
            d_model=d,
            n_layers=args.size("n_layers_enc", MAX_COUNT),
            n_heads=heads,
            d_ff=4 * d,
            subsampling="conv4",
            subsampling_channels=32,
            qkv_norm=True,
            attn_bias=False,
            conv_mult=2,
            conv_kernel=args.size("kernel_size"),
            conv_norm="layer",
            conv_bias=False,
            dropout=dropout,
        ),
        decoder=DecoderConfig(
            d_model=d,
            n_layers=args.size("n_layers_dec", MAX_COUNT),
            n_heads=heads,
            d_ff=4 * d,
            act="gelu",
            embed_scale=True,
            pos_scale=False,
            embed_norm=False,
            key_bias=False,
            head_bias=False,
            dropout=dropout,
        ),
        ctc=ctc,
    )


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Arguments and weights of model.pth.tar. SpeechError for a file that holds more than these."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            package = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        arguments, weights = vars(package["args"]), package["model_state_dict"]
    except OSError as error:
        raise SpeechError(f"{path}: cannot be read ({error.strerror or one_line(error)})") from None
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, TypeError, EOFError) as error:
        raise SpeechError(f"{path}: not a FireRedASR checkpoint ({type(error).__name__}: {one_line(error)})") from None
    if not isinstance(weights, dict) or not all(isinstance(w, Tensor) for w in weights.values()):
        raise SpeechError(f"{path}: model_state_dict is not a mapping of names to weights")
    return arguments, weights


def read_cmvn(path: Path) -> tuple[Tensor, Tensor]:
    """Mean and inverse standard deviation [F] of a Kaldi matrix of sums and squares, in its binary form."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SpeechError(f"{path}: cannot be read ({error.strerror})") from None
    begin = data.find(b"\0B")
    kinds = {b"DM ": np.dtype("<f8"), b"FM ": np.dtype("<f4")}
    head = data[begin + 2 : begin + 15]
    dtype = kinds.get(head[:3])
    if begin < 0 or len(head) < 13 or dtype is None or head[3] != 4 or head[8] != 4:
        raise SpeechError(f"{path}: not a binary Kaldi matrix")
    rows, columns = (int.from_bytes(head[i : i + 4], "little") for i in (4, 9))
    if rows != 2 or columns < 2 or len(data) - begin - 15 != rows * columns * dtype.itemsize:
        raise SpeechError(f"{path}: a matrix of {rows} x {columns} in {len(data)} bytes is not CMVN statistics")
    sums, squares = np.frombuffer(data, dtype, rows * columns, begin + 15).astype(np.float64).reshape(2, -1)
    count = sums[-1]
    if not count > 0:
        raise SpeechError(f"{path}: statistics over {count} frames")
    mean = sums[:-1] / count
    variance = np.maximum(squares[:-1] / count - mean**2, 1e-20)
    return torch.from_numpy(mean).float(), torch.from_numpy(1 / np.sqrt(variance)).float()


def read(folder: Path) -> tuple[AED, BaseTokenizer, GenerationConfig]:
    """Model, tokenizer and recommended search settings of a FireRedASR folder. Version 2 writes lower case."""
    model = read_model(folder)
    try:
        dictionary, pieces = ((folder / name).read_bytes() for name in ("dict.txt", "train_bpe1000.model"))
    except OSError as error:
        raise SpeechError(f"{error.filename}: cannot be read ({error.strerror})") from None
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
    arguments, weights = read_checkpoint(folder / "model.pth.tar")
    emb, head = (weights.get(f"decoder.tgt_word_{name}.weight") for name in ("emb", "prj"))
    if emb is None or head is None or not torch.equal(emb, head):
        raise SpeechError(f"{folder}: embedding and output projection differ, in FireRedASR they are one")
    config = model_config(arguments, ctc="ctc.ctc_lo.weight" in weights)
    size = Settings(arguments, "arguments of the checkpoint").size("odim")
    mean, inv_std = read_cmvn(folder / "cmvn.ark")
    renamed = {**rename(weights, RULES, DROPPED), "frontend.mean": mean, "frontend.inv_std": inv_std}
    return assemble(lambda: AED(config, size), renamed, str(folder))
