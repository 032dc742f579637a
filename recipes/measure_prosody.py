"""Pitch and energy of each phoneme of a corpus, from the durations of an aligner.

python -m recipes.measure_prosody --data.train train.jsonl.gz --data.dev dev.jsonl.gz \
    --durations exp/aligner/durations.npz --out exp/prosody
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from speech.config import parse, require
from speech.errors import DataError, run
from speech.nn.mel_config import MelConfig
from speech.training.log import start_log
from speech.training.voice_config import FastSpeechRecipe

log = logging.getLogger(__name__)
PROG = "python -m recipes.measure_prosody"


@dataclass
class ProsodyRecipe(FastSpeechRecipe):
    """A FastSpeech's own settings, of which its mel, data and durations count, so that one file serves both."""

    out: str = "exp/prosody"
    """folder for pitch.npz and energy.npz"""
    workers: int = 0
    """processes; 0 is one a core"""


def main(argv: Sequence[str] | None = None) -> None:
    start_log()
    measure(parse(ProsodyRecipe, argv, PROG, "Measure pitch and energy.", "fastspeech"))


def measure(recipe: ProsodyRecipe) -> None:
    """`pitch.npz` and `energy.npz` of train and dev as `speech.models.fastspeech.FastSpeech` takes them."""
    from tqdm import tqdm

    from speech.data.arrays import Arrays, save_arrays
    from speech.data.manifests import open_manifest

    require(recipe, "durations", "data.train", "data.dev")
    durations = Arrays(recipe.durations)
    manifests = (open_manifest(path) for path in (recipe.data.train, recipe.data.dev))
    train, dev = ([cut for cut in list(manifest) if cut.id in durations] for manifest in manifests)
    if not train:
        raise DataError(f"{recipe.durations}: no cut of {recipe.data.train} is in it; let the aligner write it anew")
    cuts = [*train, *dev]
    speakers = {cut.id: cut.supervisions[0].speaker or "" for cut in cuts}
    lasting = [durations[cut.id] for cut in cuts]
    with ProcessPoolExecutor(recipe.workers or None) as pool:
        results = pool.map(partial(prosody, mel=recipe.model.mel), cuts, lasting, chunksize=4)
        ids = (cut.id for cut in cuts)
        found = dict(zip(ids, tqdm(results, total=len(cuts), unit=" cuts", disable=None), strict=True))
    for i, name in enumerate(("pitch", "energy")):
        values, scale = normalized({cut: both[i] for cut, both in found.items()}, speakers, {cut.id for cut in train})
        path = Path(recipe.out) / f"{name}.npz"
        count = save_arrays(path, values.items(), scale)
        log.info(f"{path}: {count} cuts; deviation of the logarithm {scale:.3f}")


def prosody(cut, durations: np.ndarray, mel: MelConfig) -> np.ndarray:
    """[2, N] mean log Hz over the voiced frames of each phoneme and mean log energy, NaN without such a frame."""
    from speech.audio.pitch import log_energy, pitch
    from speech.data.manifests import load_audio

    x = load_audio(cut, mel.sample_rate)
    if len(x) // mel.hop != durations.sum():
        raise DataError(f"durations of {cut.id} do not fit: let the aligner write them anew")
    phonemes = np.repeat(np.arange(len(durations)), durations)
    hz, energy = pitch(x, mel.sample_rate, mel.hop), log_energy(x, mel.win, mel.hop)
    voiced = hz > 0

    def means(values: np.ndarray, phonemes: np.ndarray) -> np.ndarray:
        sums, counts = (np.bincount(phonemes, weights, len(durations)) for weights in (values, None))
        return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)

    return np.stack([means(np.log(hz[voiced]), phonemes[voiced]), means(energy, phonemes)])


def normalized(
    values: Mapping[str, np.ndarray], speakers: Mapping[str, str], trained: set[str]
) -> tuple[dict[str, np.ndarray], float]:
    """float32 values by id less the mean of their speaker in training, divided by one deviation for all, which comes
    too. NaN becomes 0, and nothing else is 0. A speaker without values has the mean of all."""
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    for name in trained:
        parts[speakers[name]].append(values[name][~np.isnan(values[name])])
    joined = {speaker: np.concatenate(voiced) for speaker, voiced in parts.items()}
    overall = np.concatenate(list(joined.values()))
    if not len(overall):
        raise DataError("no phoneme of the training set is voiced; look at its audio and durations")
    means = {speaker: voiced.mean() if len(voiced) else overall.mean() for speaker, voiced in joined.items()}
    scale = max(1e-3, float(np.concatenate([voiced - means[speaker] for speaker, voiced in joined.items()]).std()))

    def one(name: str) -> np.ndarray:
        x = ((values[name] - means.get(speakers[name], overall.mean())) / scale).astype(np.float32)
        return np.where(np.isnan(x), np.float32(0), np.where(x == 0, np.float32(1e-6), x))

    return {name: one(name) for name in values}, scale


if __name__ == "__main__":
    run(main)
