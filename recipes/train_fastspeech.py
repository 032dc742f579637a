"""Train a FastSpeech on the durations of an aligner and write its voice folder.

python -m recipes.train_fastspeech --data.train train.jsonl.gz --data.dev dev.jsonl.gz --data.tokenizer voice \
    --durations exp/aligner/durations.npz --train.out exp/fastspeech
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from recipes.train_aligner import MAX_TOKENS
from speech.config import parse
from speech.errors import SpeechError, run
from speech.training.voice_config import FastSpeechRecipe

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    recipe = parse(FastSpeechRecipe, argv, "python -m recipes.train_fastspeech", "Train a FastSpeech.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    train(recipe)


def train(recipe: FastSpeechRecipe) -> Path:
    """Data, model, fit, average; returns the voice folder `<out>/voice`."""
    import torch

    from speech.data.arrays import Arrays
    from speech.data.asr import ASRStream
    from speech.data.corpus import read_corpus
    from speech.data.manifests import load_audio
    from speech.models.aed import count_parameters
    from speech.models.fastspeech import FastSpeech
    from speech.models.voice_sound import VoiceSound
    from speech.text.load import load_tokenizer
    from speech.text.phoneme_tokenizer import PhonemeTokenizer
    from speech.text.phonemes import load_phonemizer
    from speech.training.average import average_checkpoints
    from speech.training.fastspeech_task import FastSpeechTask
    from speech.training.trainer import fit
    from speech.voice_folder import save_voice

    data, config, mel = recipe.data, recipe.train, recipe.model.mel
    for name, value in (*((f"data.{n}", getattr(data, n)) for n in ("train", "dev", "tokenizer")),
                        ("durations", recipe.durations)):  # fmt: skip
        if not value:
            raise SpeechError(f"{name} is empty: give --{name} PATH")
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(data.tokenizer)
    if not isinstance(tokenizer, PhonemeTokenizer):
        raise SpeechError(f"data.tokenizer {data.tokenizer} has no phonemes: give the voice folder of recipes.prepare")
    phonemizer = load_phonemizer(data.tokenizer)
    corpora = [read_corpus(path, tokenizer, data, MAX_TOKENS) for path in (data.train, data.dev)]
    total = config.max_steps * config.accumulate
    train_stream = ASRStream(corpora[0], data, mel.sample_rate, config.seed, total)
    dev_stream = ASRStream(corpora[1], data, mel.sample_rate, config.seed, None)
    sound = VoiceSound(mel)
    rows = corpora[0].rows[:: max(1, len(corpora[0].rows) // 500)]
    sound.measure(torch.from_numpy(load_audio(corpora[0].cut(row), mel.sample_rate)) for row in rows)
    model = FastSpeech(recipe.model, tokenizer.size)
    model.mel_mean.copy_(sound.mean)
    model.mel_std.copy_(sound.std)
    log.info(f"train: {corpora[0]}; dev: {corpora[1]}; FastSpeech: {count_parameters(model):,} parameters")
    task = FastSpeechTask(model, sound, Arrays(recipe.durations), recipe)
    root = fit(task, train_stream, dev_stream, recipe.optim, config, recipe.describe())
    folder = Path(config.out) / "voice"
    if root is not None:
        notes = average_checkpoints(root, config.keep, model)
        task = task.eval().cpu()
        with torch.inference_mode():
            frames = torch.stack([torch.stack(task.losses(batch).frames) for batch in dev_stream]).sum(0)
        model.duration_gain.fill_(float(frames[1] / frames[0]))
        save_voice(folder, model, tokenizer, phonemizer, notes)
        log.info(f"voice folder: {folder}; durations x {float(model.duration_gain):.3f}")
    return folder


if __name__ == "__main__":
    run(main)
