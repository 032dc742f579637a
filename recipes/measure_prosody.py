"""Pitch and energy of each phoneme of a corpus, from the durations of an aligner.

python -m recipes.measure_prosody --data.train train.jsonl.gz --data.dev dev.jsonl.gz \
    --durations exp/aligner/durations.npz --out exp/prosody
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from speech.config import parse
from speech.errors import DataError, SpeechError, run
from speech.nn.mel_config import MelConfig
from speech.training.voice_config import ProsodyRecipe

log = logging.getLogger(__name__)
PROG = "python -m recipes.measure_prosody"


def main(argv: Sequence[str] | None = None) -> None:
    recipe = parse(ProsodyRecipe, argv, PROG, "Measure pitch and energy.", "fastspeech")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    measure(recipe)


def measure(recipe: ProsodyRecipe) -> None:
    """`pitch.npz` and `energy.npz` of train and dev as `speech.models.fastspeech.FastSpeech` takes them."""
    from tqdm import tqdm

    from speech.data.arrays import Arrays, save_arrays
    from speech.data.manifests import open_manifest

    for name in ("durations", "data.train", "data.dev"):
        if not getattr(recipe.data if "." in name else recipe, name.split(".")[-1]):
            raise SpeechError(f"{name} is empty: give --{name} PATH")
    durations = Arrays(recipe.durations)
    manifests = (open_manifest(path) for path in (recipe.data.train, recipe.data.dev))
    splits = [[cut for cut in list(manifest) if cut.id in durations] for manifest in manifests]
    if not splits[0]:
        raise DataError(f"{recipe.durations}: no cut of {recipe.data.train} is in it; let the aligner write it anew")
    cuts = [cut for split in splits for cut in split]
    speakers = {cut.id: cut.supervisions[0].speaker or "" for cut in cuts}
    trained = {cut.id for cut in splits[0]}
    seconds = sum(cut.duration for cut in cuts)
    found: dict[str, np.ndarray] = {}
    with (
        ProcessPoolExecutor(recipe.workers or None) as pool,
        tqdm(total=round(seconds), unit=" s of audio", disable=None) as bar,
    ):
        lasting = [durations[cut.id] for cut in cuts]
        results = pool.map(partial(prosody, mel=recipe.model.mel), cuts, lasting, chunksize=4)
        for cut, values in zip(cuts, results, strict=True):
            found[cut.id] = values
            bar.update(cut.duration)
    for i, name in enumerate(("pitch", "energy")):
        values, scale = normalized({cut: both[i] for cut, both in found.items()}, speakers, trained)
        path = Path(recipe.out) / f"{name}.npz"
        count = save_arrays(path, values.items(), scale)
        log.info(f"{path}: {count} cuts, {seconds / 3600:.2f} h; deviation of the logarithm {scale:.3f}")


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
    by_speaker: dict[str, list[np.ndarray]] = {}
    for name in trained:
        by_speaker.setdefault(speakers[name], []).append(values[name][~np.isnan(values[name])])
    joined = {speaker: np.concatenate(parts) for speaker, parts in by_speaker.items()}
    overall = np.concatenate(list(joined.values()))
    if not len(overall):
        raise DataError("no phoneme of the training set is voiced; look at its audio and durations")
    means = {speaker: part.mean() if len(part) else overall.mean() for speaker, part in joined.items()}
    scale = max(1e-3, float(np.concatenate([part - means[speaker] for speaker, part in joined.items()]).std()))

    def one(name: str) -> np.ndarray:
        x = ((values[name] - means.get(speakers[name], overall.mean())) / scale).astype(np.float32)
        return np.where(np.isnan(x), np.float32(0), np.where(x == 0, np.float32(1e-6), x))

    return {name: one(name) for name in values}, scale


if __name__ == "__main__":
    run(main)
