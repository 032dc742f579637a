"""The recordings of a voice and their phonemes, as all its trainings read them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from speech.config import require
from speech.data.asr import ASRStream
from speech.data.corpus import Corpus, read_corpus
from speech.data.recordings import Recordings
from speech.models.voice_sound import VoiceSound
from speech.nn.mel_config import MelConfig
from speech.text.phoneme_tokenizer import PhonemeTokenizer
from speech.training.voice_config import AlignerRecipe, FastSpeechRecipe, TransformerTTSRecipe, VoiceDataConfig
from speech.voice_parts import VoiceParts, load_parts

VoiceRecipe = AlignerRecipe | FastSpeechRecipe | TransformerTTSRecipe
log = logging.getLogger(__name__)
MAX_TOKENS = 100_000  # no decoder limits the phonemes
MEASURED_CUTS = 500  # whose frames tell the mean and deviation of the mels
KEPT_SECONDS = 7200.0  # of decoded audio in memory, 0.6 GB at 22050 Hz: decoding Opus costs more than an aligner's step


@dataclass
class VoiceData:
    parts: VoiceParts
    corpora: tuple[Corpus, Corpus]  # train, dev
    train: ASRStream
    dev: ASRStream
    sound: VoiceSound  # measured on train

    @property
    def tokenizer(self) -> PhonemeTokenizer:
        return self.parts.tokenizer

    def identities(self) -> dict[str, tuple[int, int]]:
        """Speaker and language of each cut, as the voice counts them, by its id; empty where there is but one."""
        if max(len(self.parts.speakers), len(self.parts.languages)) < 2:
            return {}
        found = {}
        for cut in (corpus.cut(row) for corpus in self.corpora for row in corpus.rows):
            said = cut.supervisions[0]
            speaker = self.parts.speaker_id(said.speaker if self.parts.speakers else None)
            found[cut.id] = speaker, self.parts.phonemizer(said.language)[0]
        return found

    def once(self, data: VoiceDataConfig, also: Sequence[str] = ()) -> list[ASRStream]:
        """Every cut of train, of dev and of further manifests, one time."""
        data, kept = in_language_of(self.parts, data), self.train.recordings
        corpora = [*self.corpora, *(read_corpus(path, self.tokenizer, data, MAX_TOKENS) for path in also)]
        return [ASRStream(corpus, data, kept.sample_rate, 0, None, recordings=kept) for corpus in corpora]


def open_voice(recipe: VoiceRecipe, mel: MelConfig) -> VoiceData:
    """Also seeds torch and sets its threads. SpeechError for a setting that is missing."""
    require(recipe, "data.train", "data.dev", "data.tokenizer")
    data, train = recipe.data, recipe.train
    if train.threads:
        torch.set_num_threads(train.threads)
    torch.manual_seed(train.seed)
    parts = load_parts(data.tokenizer)
    tokenizer, data = parts.tokenizer, in_language_of(parts, data)
    corpora = (read_corpus(data.train, tokenizer, data, MAX_TOKENS), read_corpus(data.dev, tokenizer, data, MAX_TOKENS))
    log.info(f"train: {corpora[0]}; dev: {corpora[1]}")
    rate, total = mel.sample_rate, train.max_steps * train.accumulate
    recordings = Recordings(rate, KEPT_SECONDS / max(1, data.workers))
    stream, dev = (
        ASRStream(corpus, data, rate, train.seed, length, recordings=recordings)
        for corpus, length in zip(corpora, (total, None), strict=True)
    )
    sound = VoiceSound(mel)
    rows = corpora[0].rows[:: max(1, len(corpora[0].rows) // MEASURED_CUTS)]
    sound.measure(torch.from_numpy(recordings(corpora[0].cut(row))) for row in rows)
    return VoiceData(parts, corpora, stream, dev, sound)


def in_language_of(parts: VoiceParts, data: VoiceDataConfig) -> VoiceDataConfig:
    """The settings in the first language of the voice."""
    data = replace(data)
    data.language = parts.languages[0]
    return data
