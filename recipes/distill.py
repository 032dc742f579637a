"""What a Transformer TTS teaches a FastSpeech, arXiv 1905.09263 sections 3.3 and 4: durations from its sharpest
attention head, and its own mels of the texts.

python -m recipes.distill exp/transformer_tts/voice --train train.jsonl.gz --dev dev.jsonl.gz --out exp/distill
"""

import argparse
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from speech.errors import DataError, SpeechError, run
from speech.training.log import start_log
from speech.training.voice_config import FastSpeechRecipe

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("teacher", type=Path, help="voice folder")
    for split in ("train", "dev"):
        parser.add_argument(f"--{split}", required=True, help="manifest whose texts are phonemes")
    parser.add_argument(
        "--targets",
        choices=("generated", "recordings"),
        default="generated",
        help="generated: durations and mels of the teacher's free run; recordings: durations of the recordings alone",
    )
    parser.add_argument("--min_focus", type=float, default=0.5, help="focus rate below which a cut is dropped")
    parser.add_argument("--head", type=int, nargs=2, metavar=("LAYER", "HEAD"), help="default: each cut's sharpest")
    parser.add_argument("--batch_seconds", type=float, default=120.0, help="audio of a batch, as recorded")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")
    parser.add_argument("--out", type=Path, required=True, help="folder for the manifests of what is kept and the .npz")
    args = parser.parse_args(argv)
    start_log()
    distill(args)


def distill(args: argparse.Namespace) -> None:
    """Write `<out>/{train,dev}.jsonl.gz`, `durations.npz` and of generated targets `mels.npz`, natural logarithms."""
    import numpy as np
    import torch
    from tqdm import tqdm

    from speech.data.arrays import save_arrays
    from speech.data.asr import ASRStream
    from speech.data.corpus import read_corpus
    from speech.data.manifests import save_manifest
    from speech.models.transformer_tts import TransformerTTS
    from speech.models.transformer_tts_losses import extract_durations
    from speech.models.tts_generate import generate
    from speech.models.voice_sound import VoiceSound
    from speech.recognizer import pick_device
    from speech.training.voice_data import MAX_TOKENS, in_language_of
    from speech.voice_folder import load_voice

    voice, device = load_voice(args.teacher), pick_device(args.device)
    model, parts = voice.model.to(device), voice.parts
    if not isinstance(model, TransformerTTS):
        raise SpeechError(f"{args.teacher} is no Transformer TTS voice, only one has attention to take durations from")
    sound = VoiceSound(model.config.mel).to(device)
    sound.mean.copy_(model.mel_mean)
    sound.std.copy_(model.mel_std)
    options, reduction = replace(voice.generation, with_attention=True), model.config.reduction
    head = tuple(args.head) if args.head else None

    def generated(tokens, lengths, speaker, _):
        """Durations, focus rate and head of each row, its mel, and whether it ended by a stop."""
        expected = (model.frames_per_phoneme * lengths).tolist()
        for one in generate(model, tokens, lengths, expected, options, speaker):
            assert one.attention is not None
            found = extract_durations(list(one.attention[:, None]), torch.tensor([len(one.mel)]), reduction, head)
            mel = model.denormalize(one.mel).cpu().numpy().astype(np.float16)
            yield found.frames[0], found.focus[0], found.head[0], mel, one.ended

    def recorded(tokens, lengths, speaker, batch):
        mel, frames = sound(batch.waveforms, batch.waveform_lengths)
        keep = None if options.seed is None else model.dropout_keep(-(-mel.size(1) // reduction), options.seed)
        out = model(tokens, lengths, mel, frames, speaker, keep)
        found = extract_durations(out.attention, frames, reduction, head)
        yield from ((*row, None, True) for row in zip(*found, strict=True))

    teach = generated if args.targets == "generated" else recorded
    data = in_language_of(parts, replace(FastSpeechRecipe().data, batch_seconds=args.batch_seconds))
    durations, mels = {}, {}
    for split in ("train", "dev"):
        corpus = read_corpus(getattr(args, split), parts.tokenizer, data, MAX_TOKENS)
        cuts = [corpus.cut(row) for row in corpus.rows]
        who = {cut.id: parts.speaker_id(cut.supervisions[0].speaker) for cut in cuts} if len(parts.speakers) > 1 else {}
        counts, heads = Counter(), Counter()
        stream = ASRStream(corpus, data, model.config.mel.sample_rate, 0, None)
        for batch in tqdm(stream, unit=" batches", desc=split, disable=None):
            if batch.lost:
                raise DataError(batch.lost[0])
            batch = batch.to(device)
            speaker = torch.tensor([who[i] for i in batch.ids], device=device) if who else None
            with torch.inference_mode():
                rows = list(teach(batch.tokens, batch.token_lengths, speaker, batch))
            lengths = batch.token_lengths.tolist()
            for name, n, (frames, focus, chosen, mel, ended) in zip(batch.ids, lengths, rows, strict=True):
                sharp = "kept" if focus >= args.min_focus else f"of a focus rate below --min_focus {args.min_focus:g}"
                fate = sharp if ended else "without a stop"
                counts[fate] += 1
                if fate == "kept":
                    durations[name], mels[name] = frames[:n].cpu().numpy(), mel
                    heads[tuple(chosen.tolist())] += 1
        told = ", ".join(f"{n} {fate}" for fate, n in counts.most_common())
        log.info(f"{split}: {told}; heads {', '.join(f'{h} of {n}' for h, n in heads.most_common())}")
        if not counts["kept"]:
            raise SpeechError(f"{getattr(args, split)}: nothing to learn from this teacher, {told}; train it longer")
        save_manifest((cut for cut in cuts if cut.id in durations), args.out / f"{split}.jsonl.gz")
    save_arrays(args.out / "durations.npz", durations.items())
    if args.targets == "generated":
        save_arrays(args.out / "mels.npz", mels.items())
    log.info(f"{args.out}: {len(durations)} cuts")


if __name__ == "__main__":
    run(main)
