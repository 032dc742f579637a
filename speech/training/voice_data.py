"""The recordings of a voice and their phonemes, as all its trainings read them."""

import logging
from dataclasses import dataclass, replace

import torch

from speech.data.asr import ASRStream
from speech.data.config import DataConfig
from speech.data.corpus import Corpus, read_corpus
from speech.data.manifests import load_audio
from speech.errors import SpeechError
from speech.models.voice_sound import VoiceSound
from speech.nn.mel_config import MelConfig
from speech.text.load import load_tokenizer
from speech.text.phoneme_tokenizer import PhonemeTokenizer
from speech.training.config import TrainConfig

log = logging.getLogger(__name__)
MAX_TOKENS = 100_000  # no decoder limits the phonemes
MEASURED_CUTS = 500  # whose frames tell the mean and deviation of the mels


@dataclass
class VoiceData:
    tokenizer: PhonemeTokenizer
    corpora: tuple[Corpus, Corpus]  # train, dev
    train: ASRStream
    dev: ASRStream
    sound: VoiceSound  # measured on train

    def once(self, data: DataConfig) -> list[ASRStream]:
        """Every cut of train, then of dev, one time."""
        plain = replace(data, short_epochs=0)
        return [ASRStream(corpus, plain, self.train.sample_rate, 0, None) for corpus in self.corpora]


def open_voice(data: DataConfig, train: TrainConfig, mel: MelConfig) -> VoiceData:
    """Also seeds torch and sets its threads. SpeechError for a setting that is missing."""
    for name in ("train", "dev", "tokenizer"):
        if not getattr(data, name):
            raise SpeechError(f"data.{name} is empty: give --data.{name} PATH")
    if train.threads:
        torch.set_num_threads(train.threads)
    torch.manual_seed(train.seed)
    tokenizer = load_tokenizer(data.tokenizer)
    if not isinstance(tokenizer, PhonemeTokenizer):
        raise SpeechError(f"data.tokenizer {data.tokenizer} has no phonemes: give the voice folder of recipes.prepare")
    corpora = (read_corpus(data.train, tokenizer, data, MAX_TOKENS), read_corpus(data.dev, tokenizer, data, MAX_TOKENS))
    log.info(f"train: {corpora[0]}; dev: {corpora[1]}")
    rate = mel.sample_rate
    total = train.max_steps * train.accumulate
    stream = ASRStream(corpora[0], data, rate, train.seed, total)
    dev = ASRStream(corpora[1], data, rate, train.seed, None)
    sound = VoiceSound(mel)
    rows = corpora[0].rows[:: max(1, len(corpora[0].rows) // MEASURED_CUTS)]
    sound.measure(torch.from_numpy(load_audio(corpora[0].cut(row), rate)) for row in rows)
    return VoiceData(tokenizer, corpora, stream, dev, sound)
