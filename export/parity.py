"""Exported graphs against the model: how far their values are from those of torch."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from export.aed import cache_names, flat_pairs
from serve.sessions import CPU, Session
from serve.step import Decoder
from speech.models.aed import AED, Encoded
from speech.models.cross_weights import cross_weights
from speech.nn.masks import Lengths
from speech.onnx_folder import ON_GPU, graph_path

SECONDS = ((1.5707,), (0.31, 3.3, 1.2), (0.9, 2.2, 0.35, 1.7, 0.62, 1.11, 1.3, 0.5))  # by batch
STEPS = 7
Pair = tuple[np.ndarray, np.ndarray]  # torch's, ours


def noise(rate: int) -> list[list[np.ndarray]]:
    """Batches of waveforms, odd and unequal in length."""
    random = np.random.default_rng(0)
    return [[0.1 * random.standard_normal(int(s * rate) | 1, np.float32) for s in batch] for batch in SECONDS]


@torch.inference_mode()
def graph_errors(model: AED, folder: Path, precision: str) -> dict[str, float]:
    """Root mean square of the difference to torch in float32 over that of torch's values, by graph. Of those that run
    on a CPU: none of bf16, all but the encoder of 16."""
    names = () if precision == "bf16" else ("decoder", "ctc" if model.ctc is not None else "alignment")
    names = names if precision in ON_GPU else ("encoder", *names)
    sessions = {name: Session(graph_path(folder, name, precision), CPU, 1) for name in names}
    kind = np.float16 if precision in ON_GPU else np.float32
    pairs: dict[str, list[Pair]] = {name: [] for name in names}
    for batch in noise(model.config.frontend.sample_rate):
        lengths = torch.tensor([len(w) for w in batch])
        waves = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(w) for w in batch], batch_first=True)
        truth = model.encode(waves, lengths)
        for name, session in sessions.items():
            pairs[name] += {"encoder": _encoder, "decoder": _decoder, "ctc": _ctc, "alignment": _alignment}[name](
                session, model, truth, (waves.numpy(), lengths.numpy()), kind
            )
    return {name: _relative(found) for name, found in pairs.items()}


def _relative(pairs: list[Pair]) -> float:
    if any(a.shape != b.shape for a, b in pairs):
        return np.inf
    truth, ours = (np.concatenate([pair[i].ravel() for pair in pairs]).astype(np.float64) for i in (0, 1))
    return float(np.sqrt(np.mean((ours - truth) ** 2) / np.mean(truth**2)))


def _encoder(session: Session, model: AED, truth: Encoded, batch: Pair, kind) -> Iterator[Pair]:
    found = session.run({"waveforms": batch[0], "lengths": batch[1]}, ("encoded", "frames"))
    rows = zip(truth.encoded.numpy(), truth.lengths, found["encoded"], found["frames"], strict=True)
    for theirs, length, ours, frames in rows:
        yield theirs[:length], ours[:frames]


def _memory(truth: Encoded, rows: slice, kind) -> dict[str, np.ndarray]:
    names = cache_names("cross", len(truth.memory))
    return {n: x[rows].numpy().astype(kind) for n, x in zip(names, flat_pairs(truth.memory), strict=True)}


def _decoder(session: Session, model: AED, truth: Encoded, batch: Pair, kind) -> Iterator[Pair]:
    """Two beams of each utterance, several tokens at once and then one by one."""
    decoder = Decoder(session, session)
    rows = 2 * len(truth.lengths)
    tokens = torch.randint(model.vocab_size, (rows, STEPS), generator=torch.Generator().manual_seed(0))
    log_probs = model.decoder(tokens, truth.memory, truth.mask).logits.log_softmax(-1)[..., : model.vocab_size].numpy()
    bound = decoder.bind(truth.lengths.numpy(), _memory(truth, slice(None), kind), decoder.empty(rows, STEPS + 1))
    yield log_probs[:, : STEPS - 2], decoder.run(bound, tokens[:, : STEPS - 2].numpy(), 0)
    for at in range(STEPS - 2, STEPS):
        yield log_probs[:, at : at + 1], decoder.run(bound, tokens[:, at : at + 1].numpy(), at)


def _ctc(session: Session, model: AED, truth: Encoded, batch: Pair, kind) -> Iterator[Pair]:
    found = session.run({"encoded": truth.encoded.numpy().astype(kind)}, ("log_probs",))
    yield model.ctc_log_probs(truth.encoded).numpy(), found["log_probs"]


def _alignment(session: Session, model: AED, truth: Encoded, batch: Pair, kind) -> Iterator[Pair]:
    tokens = torch.arange(STEPS)[None] % model.vocab_size
    for row in range(len(truth.lengths)):
        one = slice(row, row + 1)
        memory = [type(kv)(kv.k[one], kv.v[one]) for kv in truth.memory]
        inputs = {"tokens": tokens.numpy(), "frames": truth.lengths[one].numpy(), **_memory(truth, one, kind)}
        weights = cross_weights(model.decoder, tokens, memory, Lengths(truth.lengths[one]))
        yield weights.numpy(), session.run(inputs, ("weights",))["weights"]
