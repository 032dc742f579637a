"""Train a Transformer TTS, a voice by itself and the teacher of a FastSpeech, and write its voice folder.

python -m recipes.train_transformer_tts --data.train train.jsonl.gz --data.dev dev.jsonl.gz --data.tokenizer voice \
    --durations exp/aligner/durations.npz --train.out exp/transformer_tts
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from speech.config import parse
from speech.errors import run
from speech.training.log import start_log
from speech.training.voice_config import TransformerTTSRecipe

log = logging.getLogger(__name__)
PROG = "python -m recipes.train_transformer_tts"


def main(argv: Sequence[str] | None = None) -> None:
    start_log()
    train(parse(TransformerTTSRecipe, argv, PROG, "Train a Transformer TTS.", "transformer_tts"))


def train(recipe: TransformerTTSRecipe) -> Path:
    """Data, model, fit, average, free running on dev; returns the voice folder `<out>/voice`."""
    import torch

    from speech.data.arrays import Arrays
    from speech.models.aed import count_parameters
    from speech.models.transformer_tts import TransformerTTS
    from speech.models.tts_generate import generate
    from speech.nn.transformer_tts_config import GenerateOptions
    from speech.training.average import average_checkpoints
    from speech.training.trainer import fit
    from speech.training.transformer_tts_task import TransformerTTSTask
    from speech.training.voice_data import open_voice
    from speech.voice_folder import save_voice

    mel, durations = recipe.model.mel, Arrays(recipe.durations) if recipe.durations else None
    voice = open_voice(recipe, mel)
    recipe = replace(recipe, model=replace(recipe.model, n_speakers=max(1, len(voice.parts.speakers))))
    model = TransformerTTS(recipe.model, voice.tokenizer.size)
    corpus = voice.corpora[0]
    seconds, phonemes = (values[corpus.rows].sum() for values in (corpus.seconds, corpus.counts))
    model.mel_mean.copy_(voice.sound.mean)
    model.mel_std.copy_(voice.sound.std)
    model.frames_per_phoneme.fill_(seconds * mel.sample_rate / mel.hop / phonemes)
    log.info(f"Transformer TTS: {count_parameters(model):,} parameters")
    identities = voice.identities()
    task = TransformerTTSTask(model, voice.sound, durations, identities, voice.tokenizer, recipe)
    root = fit(task, voice.train, voice.dev, recipe.optim, recipe.train, recipe.describe())
    folder = Path(recipe.train.out) / "voice"
    if root is not None:
        notes = average_checkpoints(root, recipe.train.keep, model)
        model = model.cpu()
        save_voice(folder, model, voice.parts, notes)
        log.info(f"voice folder: {folder}")
        made = []
        for batch in voice.dev:
            expected = (model.frames_per_phoneme * batch.token_lengths).tolist()
            speaker = torch.tensor([identities.get(i, (0, 0))[0] for i in batch.ids])
            made += generate(model, batch.tokens, batch.token_lengths, expected, GenerateOptions(), speaker)
        log.info(f"free running on dev: {sum(one.ended for one in made)} of {len(made)} sentences end by their stop")
    return folder


if __name__ == "__main__":
    run(main)
