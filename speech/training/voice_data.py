"""The recordings of a voice and their phonemes, as all its trainings read them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from speech.data.asr import ASRStream
from speech.data.corpus import Corpus, read_corpus
from speech.data.manifests import load_audio
from speech.errors import SpeechError
from speech.models.voice_sound import VoiceSound
from speech.nn.mel_config import MelConfig
from speech.text.phoneme_tokenizer import PhonemeTokenizer
from speech.training.config import TrainConfig
from speech.training.voice_config import VoiceDataConfig
from speech.voice_parts import VoiceParts, load_parts

log = logging.getLogger(__name__)
MAX_TOKENS = 100_000  # no decoder limits the phonemes
MEASURED_CUTS = 500  # whose frames tell the mean and deviation of the mels
KEPT_SECONDS = 7200.0  # of decoded audio in memory, 0.6 GB at 22050 Hz: decoding Opus costs more than an aligner's step


class Recordings:
    """Waveforms of cuts, which are kept while there is room."""

    def __init__(self, sample_rate: int, seconds: float):
        self.sample_rate, self.room = sample_rate, seconds
        self.kept: dict[str, np.ndarray] = {}

    def __call__(self, cut: Any) -> np.ndarray:
        if cut.id in self.kept:
            return self.kept[cut.id]
        x = load_audio(cut, self.sample_rate)
        if cut.duration <= self.room:
            self.room -= cut.duration
            self.kept[cut.id] = x
        return x


class VoiceStream(ASRStream):
    def __init__(self, recordings: Recordings, corpus: Corpus, data: VoiceDataConfig, seed: int, total: int | None):
        super().__init__(corpus, data, recordings.sample_rate, seed, total)
        self.recordings = recordings

    def _waveform(self, cut: Any, number: int, speed: float) -> np.ndarray:
        return self.recordings(cut)


@dataclass
class VoiceData:
    parts: VoiceParts
    corpora: tuple[Corpus, Corpus]  # train, dev
    train: VoiceStream
    dev: VoiceStream
    sound: VoiceSound  # measured on train

    @property
    def tokenizer(self) -> PhonemeTokenizer:
        return self.parts.tokenizer

    def identities(self) -> dict[str, tuple[int, int]]:
        """Speaker and language of each cut, as the voice counts them, by its id; empty where there is but one."""
        if max(len(self.parts.speakers), len(self.parts.languages)) < 2:
            return {}
        cuts = (corpus.cut(row) for corpus in self.corpora for row in corpus.rows)
        return {cut.id: _identity(self.parts, cut.supervisions[0]) for cut in cuts}

    def once(self, data: VoiceDataConfig, also: Sequence[str] = ()) -> list[VoiceStream]:
        """Every cut of train, of dev and of further manifests, one time."""
        plain = in_language_of(self.parts, replace(data, short_epochs=0))
        further = [read_corpus(path, self.tokenizer, plain, MAX_TOKENS) for path in also]
        return [VoiceStream(self.train.recordings, corpus, plain, 0, None) for corpus in (*self.corpora, *further)]


def open_voice(data: VoiceDataConfig, train: TrainConfig, mel: MelConfig) -> VoiceData:
    """Also seeds torch and sets its threads. SpeechError for a setting that is missing."""
    for name in ("train", "dev", "tokenizer"):
        if not getattr(data, name):
            raise SpeechError(f"data.{name} is empty: give --data.{name} PATH")
    if train.threads:
        torch.set_num_threads(train.threads)
    torch.manual_seed(train.seed)
    parts = load_parts(data.tokenizer)
    tokenizer, data = parts.tokenizer, in_language_of(parts, data)
    corpora = (read_corpus(data.train, tokenizer, data, MAX_TOKENS), read_corpus(data.dev, tokenizer, data, MAX_TOKENS))
    log.info(f"train: {corpora[0]}; dev: {corpora[1]}")
    recordings = Recordings(mel.sample_rate, KEPT_SECONDS / max(1, data.workers))
    stream = VoiceStream(recordings, corpora[0], data, train.seed, train.max_steps * train.accumulate)
    dev = VoiceStream(recordings, corpora[1], data, train.seed, None)
    sound = VoiceSound(mel)
    rows = corpora[0].rows[:: max(1, len(corpora[0].rows) // MEASURED_CUTS)]
    sound.measure(torch.from_numpy(recordings(corpora[0].cut(row))) for row in rows)
    return VoiceData(parts, corpora, stream, dev, sound)


def in_language_of(parts: VoiceParts, data: VoiceDataConfig) -> VoiceDataConfig:
    """The settings in the first language of the voice."""
    data = replace(data)
    data.language = parts.languages[0]
    return data


def _identity(parts: VoiceParts, said: Any) -> tuple[int, int]:
    return parts.speaker_id(said.speaker if parts.speakers else None), parts.phonemizer(said.language)[0]
