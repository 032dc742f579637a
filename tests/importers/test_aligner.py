"""The aligner of a made-up archive, by the names and settings of canary-1b-v2's, at a small size."""

import io
import os
import tarfile
from pathlib import Path

import pytest
import torch
import yaml
from spe_models import train
from torch import Tensor, nn

from speech.aligner_folder import load_aligner, save_aligner
from speech.errors import SpeechError
from speech.importers import aligner
from speech.importers.convert import convert
from speech.models.conformer import Conformer
from speech.nn.config import EncoderConfig, FrontendConfig
from speech.nn.frontend import Frontend

D, HEADS, CHANNELS, MELS, KERNEL, LAYERS = 16, 2, 4, 24, 5, 2


@pytest.fixture(scope="module")
def spe() -> bytes:
    return train(["hello my friend how are you", "good evening to all"], 40, eos_id=-1)


def settings(**encoder) -> dict:
    """As timestamps_asr_model_config.yaml has them; the names of the labels are left out."""
    preprocessor = dict(sample_rate=16000, normalize="per_feature", window_size=0.025, window_stride=0.01)
    preprocessor |= dict(features=MELS, n_fft=512, window="hann", pad_to=0, dither=1e-5, log=True)
    conformer = dict(feat_in=MELS, feat_out=-1, n_layers=LAYERS, d_model=D, n_heads=HEADS, ff_expansion_factor=4)
    conformer |= dict(subsampling="dw_striding", subsampling_factor=8, subsampling_conv_channels=CHANNELS)
    conformer |= dict(causal_downsampling=False, self_attention_model="rel_pos", att_context_size=[-1, -1])
    conformer |= dict(att_context_style="regular", xscaling=False, untie_biases=True, conv_kernel_size=KERNEL)
    conformer |= dict(conv_norm_type="batch_norm", use_bias=False, dropout=0.1, dropout_att=0.1)
    return {
        "tokenizer": {"type": "bpe", "dir": None, "model_path": "nemo:0a1b_tokenizer.model"},
        "preprocessor": preprocessor,
        "encoder": {"_target_": "nemo.collections.asr.modules.ConformerEncoder", **conformer, **encoder},
        "decoder": {"_target_": "nemo.collections.asr.modules.ConvASRDecoder", "feat_in": D, "num_classes": 40},
    }


def weights(bias: bool = False) -> dict[str, Tensor]:
    """Random ones by NeMo's names; 29 a layer where no linear layer and no convolution of it has a bias."""
    shapes: dict[str, tuple[int, ...]] = {"preprocessor.featurizer.window": (400,)}
    shapes |= {"preprocessor.featurizer.fb": (1, MELS, 257)}
    for i, shape in {0: (1, 3, 3), 2: (1, 3, 3), 3: (CHANNELS, 1, 1), 5: (1, 3, 3), 6: (CHANNELS, 1, 1)}.items():
        shapes[f"encoder.pre_encode.conv.{i}.weight"] = (CHANNELS, *shape)
        shapes[f"encoder.pre_encode.conv.{i}.bias"] = (CHANNELS,)
    shapes |= {"encoder.pre_encode.out.weight": (D, CHANNELS * MELS // 8), "encoder.pre_encode.out.bias": (D,)}
    for n in range(LAYERS):
        layer = f"encoder.layers.{n}."
        for name in ("feed_forward1", "self_att", "conv", "feed_forward2", "out"):
            shapes |= {f"{layer}norm_{name}.{x}": (D,) for x in ("weight", "bias")}
        inner = {f"feed_forward{k}.linear{j}": (4 * D, D)[:: 3 - 2 * j] for k in (1, 2) for j in (1, 2)}
        inner |= {f"self_attn.linear_{x}": (D, D) for x in ("q", "k", "v", "out")}
        inner |= {"conv.pointwise_conv1": (2 * D, D, 1), "conv.depthwise_conv": (D, 1, KERNEL)}
        inner |= {"conv.pointwise_conv2": (D, D, 1)}
        shapes |= {f"{layer}{name}.weight": shape for name, shape in inner.items()}
        shapes |= {f"{layer}{name}.bias": shape[:1] for name, shape in inner.items()} if bias else {}
        shapes |= {f"{layer}self_attn.pos_bias_{x}": (HEADS, D // HEADS) for x in "uv"}
        shapes |= {f"{layer}self_attn.linear_pos.weight": (D, D)}
        shapes |= {f"{layer}conv.batch_norm.{x}": (D,) for x in ("weight", "bias", "running_mean", "running_var")}
    shapes |= {"decoder.decoder_layers.0.weight": (41, D, 1), "decoder.decoder_layers.0.bias": (41,)}
    generator = torch.Generator().manual_seed(0)
    out = {name: 0.4 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    out |= {name: x.abs() + 0.5 for name, x in out.items() if name.endswith("running_var")}
    for n in range(LAYERS):
        out[f"encoder.layers.{n}.conv.batch_norm.num_batches_tracked"] = torch.tensor(7)
    return out


def archive(path: Path, spe: bytes, config: dict | None = None, state: dict | None = None, leave_out: str = "") -> Path:
    ckpt = io.BytesIO()
    torch.save(weights() if state is None else state, ckpt)
    members = {
        "timestamps_asr_model_config.yaml": yaml.safe_dump(settings() if config is None else config).encode(),
        "timestamps_asr_model_weights.ckpt": ckpt.getvalue(),
        "0a1b_tokenizer.model": spe,
    }
    with tarfile.open(path, "a") as tar:
        for name, data in members.items():
            if name != leave_out:
                info = tarfile.TarInfo(f"./{name}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


class Scaled(nn.Module):
    def __init__(self, subsampling: nn.Module, scale: float):
        super().__init__()
        self.subsampling, self.scale = subsampling, scale

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        y, lengths = self.subsampling(x, lengths)
        return y * self.scale, lengths


def by_hand(state: dict[str, Tensor], scale: float = 1.0, bias: bool = False):
    """Log-probabilities of waveforms, from our encoder with its weights set one by one, and a linear layer."""
    sizes = dict(d_model=D, n_layers=LAYERS, n_heads=HEADS, d_ff=4 * D, conv_kernel=KERNEL)
    sizes |= dict(subsampling_channels=CHANNELS, attn_bias=bias, ff_bias=bias, conv_bias=bias)
    config = EncoderConfig(**sizes, subsampling="dw8", conv_norm="batch")
    encoder = Conformer(config, MELS).eval()

    def put(module: nn.Module, name: str) -> None:
        for kind, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            tensor.data.copy_(state[f"encoder.{name}.{kind}"])

    sub = encoder.subsampling
    for module, i in ((sub.conv0, 0), (sub.depthwise[0], 2), (sub.pointwise[0], 3), (sub.depthwise[1], 5)):
        put(module, f"pre_encode.conv.{i}")
    put(sub.pointwise[1], "pre_encode.conv.6")
    put(sub.out, "pre_encode.out")
    for n, block in enumerate(encoder.blocks):
        for k, ff in ((1, block.ff1), (2, block.ff2)):
            put(ff.norm, f"layers.{n}.norm_feed_forward{k}")
            put(ff.inner, f"layers.{n}.feed_forward{k}.linear1")
            put(ff.outer, f"layers.{n}.feed_forward{k}.linear2")
        put(block.attn_norm, f"layers.{n}.norm_self_att")
        for x in ("q", "k", "v", "out", "pos"):
            put(getattr(block.attn, x), f"layers.{n}.self_attn.linear_{x}")
        block.attn.u.data.copy_(state[f"encoder.layers.{n}.self_attn.pos_bias_u"])
        block.attn.v_pos.data.copy_(state[f"encoder.layers.{n}.self_attn.pos_bias_v"])
        put(block.conv.norm_in, f"layers.{n}.norm_conv")
        put(block.conv.pointwise1, f"layers.{n}.conv.pointwise_conv1")
        put(block.conv.depthwise, f"layers.{n}.conv.depthwise_conv")
        put(block.conv.norm, f"layers.{n}.conv.batch_norm")
        put(block.conv.pointwise2, f"layers.{n}.conv.pointwise_conv2")
        put(block.norm, f"layers.{n}.norm_out")
    encoder.subsampling = Scaled(sub, scale)
    frontend = Frontend(FrontendConfig("mel", 16000, MELS, norm="utterance"))
    head, bias_of = state["decoder.decoder_layers.0.weight"][..., 0], state["decoder.decoder_layers.0.bias"]

    def log_probs(waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        encoded, frames = encoder(*frontend(waveforms, lengths))
        return torch.log_softmax(encoded @ head.T + bias_of, -1), frames

    return log_probs


@pytest.fixture(scope="module")
def speech() -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([16000, 9000])
    waveforms = 0.1 * torch.randn(2, 16000, generator=torch.Generator().manual_seed(5))
    return waveforms * (torch.arange(16000) < lengths[:, None]), lengths


@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("xscaling", [False, True])
def test_log_probabilities_are_those_of_the_weights(tmp_path, spe, speech, bias, xscaling):
    state = weights(bias)
    path = archive(tmp_path / "x.nemo", spe, settings(use_bias=bias, xscaling=xscaling), state)
    found = aligner.read(path)
    assert found is not None
    log_probs, frames = found.model.log_probs(*speech)
    expected, lengths = by_hand(state, D**0.5 if xscaling else 1.0, bias)(*speech)
    assert torch.equal(frames, lengths) and frames.tolist() == [13, 7] and log_probs.shape == (2, 13, 41)
    for ours, theirs, n in zip(log_probs, expected, frames.tolist(), strict=True):
        torch.testing.assert_close(ours[:n], theirs[:n], rtol=0, atol=1e-5)
    assert found.model.blank_id == 40 and found.model.frame_seconds == 0.08


def test_without_a_word_on_it_the_input_is_scaled_and_linear_layers_have_biases(tmp_path, spe):
    """As NeMo's defaults are."""
    config = settings()
    del config["encoder"]["xscaling"], config["encoder"]["use_bias"]
    state = weights(bias=True)
    model = aligner.read(archive(tmp_path / "x.nemo", spe, config, state)).model
    torch.testing.assert_close(model.encoder.subsampling.out.weight, state["encoder.pre_encode.out.weight"] * 4)
    torch.testing.assert_close(model.encoder.subsampling.out.bias, state["encoder.pre_encode.out.bias"] * 4)


@torch.no_grad()
def test_the_folder_keeps_it(tmp_path, spe, speech):
    first = aligner.read(archive(tmp_path / "x.nemo", spe))
    save_aligner(tmp_path / "aligner", first)
    again = load_aligner(tmp_path / "aligner")
    assert torch.equal(again.model.log_probs(*speech)[0], first.model.log_probs(*speech)[0])
    assert again.spe.serialized_model_proto() == first.spe.serialized_model_proto()
    assert again.spe.get_piece_size() == again.model.blank_id
    ids = again.encode("hello all")
    assert "".join(again.spe.id_to_piece(i) for i in ids).replace("\u2581", " ").strip() == "hello all"


def test_an_archive_without_one_has_none(tmp_path):
    with tarfile.open(tmp_path / "x.nemo", "w"):
        pass
    assert aligner.read(tmp_path / "x.nemo") is None


def changed(name: str, **values):
    return lambda config: {**config, name: {**config[name], **values}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("encoder", self_attention_model="abs_pos"), "self_attention_model 'abs_pos' is not known here"),
        (changed("encoder", att_context_style="chunked_limited"), "att_context_style 'chunked_limited' is not known"),
        (changed("encoder", subsampling="striding"), "encoder.subsampling 'striding' is not known here"),
        (changed("encoder", subsampling_factor=4), "encoder.subsampling_factor 4 is not known here, only 8"),
        (changed("encoder", xscaling="maybe"), "encoder.xscaling 'maybe' is not known here, only True, False"),
        (changed("encoder", d_model=0), "encoder.d_model 0 is not a whole number from 1 to"),
        (changed("encoder", n_layers=10**6), "encoder.n_layers 1000000 is not a whole number from 1 to 1000"),
        (changed("preprocessor", window_size=10.0), "preprocessor.window_size 10.0 is not a number from 0.001 to 0.1"),
        (changed("preprocessor", features=10**9), "preprocessor.features 1000000000 is not a whole number"),
        (changed("encoder", n_heads=3), "the settings build no model|d_model 16 is not a multiple of n_heads 3"),
        (changed("encoder", n_layers=3), r"Missing .* \"encoder.blocks.2.ff1.norm.weight\""),
        (changed("preprocessor", normalize="NA"), "preprocessor.normalize 'NA' is not known here"),
        (changed("preprocessor", n_fft=1024), "preprocessor.n_fft 1024 is not known here, only 512"),
        (changed("preprocessor", preemph=0.9), "preprocessor.preemph 0.9 is not known here, only 0.97"),
        (changed("preprocessor", window_size="long"), "preprocessor.window_size 'long' is not a number"),
        (changed("decoder", num_classes=39), "num_classes 39 and a tokenizer of 40 pieces do not agree"),
        (changed("tokenizer", model_path="nemo:none.model"), "no member 'none.model' among 0a1b_tokenizer.model"),
        (changed("tokenizer", model_path=None), "timestamps_asr_model_config.yaml: tokenizer.model_path None is not"),
    ],
)
def test_what_ours_cannot_do_is_named(tmp_path, spe, change, message):
    path = archive(tmp_path / "x.nemo", spe, change(settings()))
    with pytest.raises(SpeechError, match=message) as error:
        aligner.read(path)
    assert "\n" not in str(error.value)


def test_weights_that_do_not_fit_are_named(tmp_path, spe):
    state = {**weights(), "decoder.decoder_layers.0.weight": torch.zeros(12, D, 1)}
    with pytest.raises(SpeechError, match=r"head.weight: .*\[12, 16\].*\[41, 16\]"):
        aligner.read(archive(tmp_path / "shape.nemo", spe, state=state))
    with pytest.raises(SpeechError, match="1 weights of the checkpoint are not known: joint.weight"):
        aligner.read(archive(tmp_path / "name.nemo", spe, state={**weights(), "joint.weight": torch.zeros(1)}))


@pytest.mark.parametrize("name", ["timestamps_asr_model_config.yaml", "timestamps_asr_model_weights.ckpt"])
def test_half_an_aligner_is_refused(tmp_path, spe, name):
    with pytest.raises(SpeechError, match=f"no member '{name}'"):
        aligner.read(archive(tmp_path / "x.nemo", spe, leave_out=name))
    with pytest.raises(SpeechError, match="tokenizer: not a whole SentencePiece model"):
        aligner.read(archive(tmp_path / "y.nemo", spe[: len(spe) // 2]))


CASES = sorted(path.parent for path in Path(os.environ.get("SPEECH_FIXTURES", "/nowhere")).glob("*/model.nemo"))


@pytest.mark.skipif(not CASES, reason="SPEECH_FIXTURES is unset or has no model.nemo")
def test_the_import_writes_it_beside_the_recogniser(tmp_path, spe):
    path = tmp_path / "v2.nemo"
    path.write_bytes((CASES[0] / "model.nemo").read_bytes())
    assert convert("canary", archive(path, spe), tmp_path / "model").endswith(", with an aligner for word times")
    assert load_aligner(tmp_path / "model" / "aligner").spe.id_to_piece(0) == "<unk>"
    assert "aligner" not in convert("canary", CASES[0] / "model.nemo", tmp_path / "without")
    assert not (tmp_path / "without" / "aligner").exists()
