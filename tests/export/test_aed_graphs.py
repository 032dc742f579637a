"""What is in the graphs of a recogniser, and that they compute what torch does."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

import export
from export.aed import cache_names, flat_pairs, save_alignment, save_decoder
from export.check import faults
from export.graph import Input, save_graph
from export.parity import graph_errors
from export.quantize import front_end
from serve.sessions import CPU, Session
from serve.step import Decoder
from speech.folder import load_folder
from speech.models.aed import AED
from speech.models.cross_weights import cross_weights
from speech.nn.attention import KV
from speech.nn.config import FrontendConfig
from speech.nn.frontend import Frontend
from speech.nn.masks import Lengths, length_mask

RATE = 8000


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> AED:
    return load_folder(tiny_model).model


@pytest.fixture
def decoder(exported: Path) -> Decoder:
    session = Session(exported / "decoder.onnx", CPU, 1)
    return Decoder(session, Session(exported / "gather.onnx", CPU, 1))


def graph(path: Path) -> onnx.GraphProto:
    return onnx.load(path).graph


def memory_of(model: AED, rows: int, frames: int) -> list[KV]:
    generator = torch.Generator().manual_seed(rows)
    heads, width = model.config.decoder.n_heads, model.config.decoder.d_model
    shape = (rows, heads, frames, width // heads)
    return [KV(*torch.randn(2, *shape, generator=generator)) for _ in model.decoder.layers]


def named(memory: list[KV]) -> dict[str, np.ndarray]:
    names = cache_names("cross", len(memory))
    return {name: x.numpy() for name, x in zip(names, flat_pairs(memory), strict=True)}


@torch.inference_mode()
@pytest.mark.parametrize("samples", [[8001], [239], [RATE * 3 + 17], [4001, 12345, 801], [6400, 6400, 6399]])
def test_the_encoder_is_that_of_torch(model, exported, samples):
    rng = np.random.default_rng(0)
    waves = np.zeros((len(samples), max(samples)), np.float32)
    for row, n in zip(waves, samples, strict=True):
        row[:n] = 0.1 * rng.standard_normal(n)
    truth = model.encode(torch.from_numpy(waves), torch.tensor(samples))
    names = cache_names("cross", model.config.decoder.n_layers)
    session = Session(exported / "encoder.onnx", CPU, 1)
    found = session.run({"waveforms": waves, "lengths": np.array(samples)}, ("encoded", "frames", *names))
    assert found["frames"].tolist() == truth.lengths.tolist() and found["encoded"].shape[1] % 8 == 0
    for row, n in enumerate(truth.lengths):
        np.testing.assert_allclose(found["encoded"][row, :n], truth.encoded[row, :n], atol=1e-4)
        for name, theirs in zip(names, flat_pairs(truth.memory), strict=True):
            np.testing.assert_allclose(found[name][row, :n], theirs[row, :n], atol=1e-4)


@torch.inference_mode()
def test_quiet_sound_is_normalised_as_by_torch(tmp_path):
    frontend = Frontend(FrontendConfig(kind="mel", sample_rate=RATE, norm="utterance"))
    inputs = [Input("waveforms", torch.zeros(2, RATE), {0: "batch", 1: "samples"}),
              Input("lengths", torch.full((2,), RATE), {0: "batch"})]  # fmt: skip
    save_graph(frontend.convolutional(), inputs, ["features", "frames"], tmp_path / "features.onnx")
    sound = torch.from_numpy(3e-4 * np.random.default_rng(0).standard_normal((1, 15 * RATE), np.float32))
    assert frontend.log_mel(sound, torch.tensor([15 * RATE])).std(1).min() < 0.01  # hardly above the floor, -16.6
    given = {"waveforms": sound.numpy(), "lengths": np.array([15 * RATE])}
    found = Session(tmp_path / "features.onnx", CPU, 1).run(given, ("features",))["features"]
    truth, _ = frontend(sound, torch.tensor([15 * RATE]))
    np.testing.assert_allclose(found, truth, atol=1e-3)


@torch.inference_mode()
@pytest.mark.parametrize(("utterances", "beams"), [(1, 1), (3, 1), (2, 3)])
def test_several_tokens_at_once_are_single_steps_are_torch(model, decoder, utterances, beams):
    """With one memory for the beams of an utterance, of unequal length."""
    frames = torch.tensor([11, 5, 8][:utterances])
    memory = memory_of(model, utterances, 11)
    tokens = torch.randint(model.vocab_size, (utterances * beams, 9), generator=torch.Generator().manual_seed(1))
    truth = model.decoder(tokens, memory, length_mask(frames, 11)).logits.log_softmax(-1)

    def run(widths: list[int]) -> np.ndarray:
        bound, at, found = decoder.bind(frames.numpy(), named(memory), decoder.empty(len(tokens), 12)), 0, []
        for width in widths:
            part = tokens[:, at : at + width].numpy()
            found.append(decoder.run(bound, part, at))
            at += width
        return np.concatenate(found, 1)

    for widths in ([9], [1] * 9, [4, 1, 3, 1]):
        np.testing.assert_allclose(run(widths), truth, atol=1e-5)


def test_a_draft_that_was_wrong_is_written_over(model, decoder):
    memory, frames, rng = named(memory_of(model, 1, 6)), np.array([6]), np.random.default_rng(0)
    bound, other = (decoder.bind(frames, memory, decoder.empty(1, 16)) for _ in range(2))
    right = rng.integers(0, model.vocab_size, (1, 8))
    decoder.run(bound, np.concatenate([right[:, :4], rng.integers(0, model.vocab_size, (1, 9))], 1), 0)
    again = decoder.run(bound, right[:, 4:], 4)
    np.testing.assert_allclose(again, decoder.run(other, right, 0)[:, 4:], atol=1e-6)


def test_caches_are_written_in_place(model, exported, decoder, capfd):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # and with the warnings that a Session hides
    decoder.decoder.session = ort.InferenceSession(exported / "decoder.onnx", options, providers=[CPU])
    memory, past, tokens = named(memory_of(model, 2, 6)), decoder.empty(2, 8), np.ones((2, 3), np.int64)
    decoder.run(decoder.bind(np.array([6, 6]), memory, past), tokens, 0)
    assert all(x.numpy()[:, :3].any() and not x.numpy()[:, 3:].any() for x in past.values())
    assert "in-place" not in capfd.readouterr().err
    decoder.decoder.run({"tokens": tokens, "filled": np.array([0, 0]), "frames": np.array([6, 6]), **memory, **past})
    assert "in-place optimization not activated" in capfd.readouterr().err


def test_the_greatest_log_probabilities_come_along(model, decoder):
    inputs = {"tokens": np.ones((1, 2), np.int64), "filled": np.zeros(1, np.int64), "frames": np.array([4])}
    wanted = ("log_probs", "top_log_probs", "top_tokens")
    found = decoder.decoder.run({**inputs, **named(memory_of(model, 1, 4)), **decoder.empty(1, 4)}, wanted)
    order = np.argsort(-found["log_probs"], -1, kind="stable")[..., : found["top_tokens"].shape[2]]
    np.testing.assert_array_equal(found["top_tokens"], order)
    np.testing.assert_array_equal(found["top_log_probs"], np.take_along_axis(found["log_probs"], order, -1))


@pytest.mark.parametrize("precision", ["32", "int8"])
def test_graphs_are_near_torch_in_every_precision(model, exported, precision):
    errors = graph_errors(model, exported, precision)
    assert set(errors) == {"encoder", "decoder", "ctc"}
    assert all(0 < error < (1e-6 if precision == "32" else 5e-2) for error in errors.values()), errors


@pytest.mark.parametrize("name", ["encoder", "decoder", "ctc"])
@pytest.mark.parametrize("precision", ["32", "int8"])
def test_every_attention_is_one_node(model, exported, name, precision):
    path = exported / f"{name}{'.int8' if precision == 'int8' else ''}.onnx"
    assert not list(faults(graph(path), name, model.config, precision))
    kinds = Counter((node.domain, node.op_type) for node in graph(path).node)
    bias, by_length = kinds["com.microsoft", "MultiHeadAttention"], kinds["", "Attention"]
    assert (bias, by_length) == {"encoder": (1, 0), "decoder": (0, 2), "ctc": (0, 0)}[name]
    assert kinds["", "TensorScatter"] == (2 if name == "decoder" else 0)
    assert kinds["", "LogSoftmax"] == (name != "encoder") and not kinds["", "Softmax"]


def test_8_bits_are_for_products_behind_the_mel_bands_alone(exported):
    small = graph(exported / "encoder.int8.onnx")
    weights = {x.name for x in small.initializer if len(x.dims) > 1}
    products = [node for node in small.node if node.op_type == "MatMul" and node.input[1] in weights]
    assert [node.name for node in products] == [node.name for node in small.node if node.op_type == "MatMul"][:1]
    assert products[0].name in front_end(small) and len(front_end(small)) < len(small.node) / 3
    assert sum(node.op_type == "MatMulInteger" for node in small.node) > 6


def test_files_tell_nothing_of_the_machine(exported):
    root = str(Path(export.__file__).parents[1]).encode()
    for path in exported.glob("*.onnx"):
        content = path.read_bytes()
        assert not any(word in content for word in (root, b".py", b"Traceback", b"stack_trace", b"pkg.torch")), path
        assert onnx.load(path).ir_version == 10


@torch.inference_mode()
def test_half_precision_keeps_its_logits_in_float32(tiny_model, model, tmp_path):
    half = load_folder(tiny_model).model
    half.lower(torch.float16)
    save_decoder(half, tmp_path / "decoder.fp16.onnx")
    found = graph(tmp_path / "decoder.fp16.onnx")
    assert not list(faults(found, "decoder", model.config, "16"))
    assert "FLOAT16" in next(faults(found, "decoder", model.config, "32"))
    made = {out: node for node in found.node for out in node.output}
    [softmax] = [node for node in found.node if node.op_type == "LogSoftmax"]
    before = made[softmax.input[0]]
    assert before.op_type == "Cast" and before.attribute[0].i == onnx.TensorProto.FLOAT
    [top] = [node for node in found.node if node.op_type == "TopK"]
    assert top.input[0] == softmax.output[0]
    session = Session(tmp_path / "decoder.fp16.onnx", CPU, 1)
    decoder, memory = Decoder(session, session), memory_of(model, 2, 7)
    tokens, frames = torch.tensor([[3, 4, 5], [6, 7, 8]]), torch.tensor([7, 4])
    truth = model.decoder(tokens, memory, length_mask(frames, 7)).logits.log_softmax(-1)
    small = {name: x.astype(np.float16) for name, x in named(memory).items()}
    found = decoder.run(decoder.bind(frames.numpy(), small, decoder.empty(2, 4)), tokens.numpy(), 0)
    np.testing.assert_allclose(found, truth, atol=2e-2)


@torch.inference_mode()
def test_the_alignment_is_that_of_torch(model, tmp_path):
    save_alignment(model, tmp_path / "alignment.onnx")
    assert not list(faults(graph(tmp_path / "alignment.onnx"), "alignment", model.config, "32"))
    session = Session(tmp_path / "alignment.onnx", CPU, 1)
    for steps, frames in ((1, 9), (6, 9), (4, 5)):
        memory, tokens = memory_of(model, 1, 9), torch.arange(steps)[None] + 3
        truth = cross_weights(model.decoder, tokens, memory, Lengths(torch.tensor([frames])))
        inputs = {"tokens": tokens.numpy(), "frames": np.array([frames]), **named(memory)}
        found = session.run(inputs, ("weights",))["weights"]
        np.testing.assert_allclose(found, truth, atol=1e-6)
        assert found[..., frames:].max(initial=0) == 0 and found.sum(-1) == pytest.approx(1, abs=1e-5)


class Padded(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.pad(x, (1, 0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_no_bfloat16_is_padded(tmp_path, dtype):
    """onnxruntime has no kernel for it, on no device."""
    save_graph(Padded(), [Input("x", torch.zeros(2, 3, dtype=dtype), {0: "n"})], ["y"], tmp_path / "padded.onnx")
    found = graph(tmp_path / "padded.onnx")
    assert [n.op_type for n in found.node] == (["Cast", "Pad", "Cast"] if dtype == torch.bfloat16 else ["Pad"])
