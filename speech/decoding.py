"""What a request means for a model: prompt, search settings, scorers and guards."""

from dataclasses import dataclass, replace

from speech.errors import SpeechError
from speech.generation import GenerationConfig
from speech.request import WORD_TIMES, Request
from speech.search.beam import BeamOptions
from speech.search.guards import Guards
from speech.search.hotwords import HotWords
from speech.text.base import BaseTokenizer
from speech.text.prompt import FORMATS, Prompt

MAX_LENGTH_PENALTY = 10.0
SECOND_BEAM, SECOND_CTC_WEIGHT = 4, 0.3


@dataclass(frozen=True)
class Decoding:
    prompt: list[int]  # ids before the text
    options: BeamOptions
    word_times: str  # ctc, tokens or attention
    ctc_weight: float
    hot_words: HotWords | None
    guards: Guards
    second: "Decoding | None" = None  # how a text that the guards doubt is sought once more: by a beam and the CTC head


def make_decoding(
    request: Request, tokenizer: BaseTokenizer, generation: GenerationConfig, has_ctc: bool, has_aligner: bool = False
) -> Decoding:
    """SpeechError for a value out of range and for what the model cannot do."""
    ctc = has_ctc and tokenizer.blank_id is not None
    how = _word_times(request, tokenizer, generation, ctc or has_aligner)
    own = request.language or generation.language
    target = request.target_language or ("en" if request.task == "translate" else own)
    asked = Prompt(request.task, own, target, generation.punctuation, timestamp=how == "tokens")
    prompt = asked.ids(tokenizer, generation.prompt_format)
    options = _options(request, generation, tokenizer.eos_id, len(prompt))
    weight = generation.ctc_weight if request.ctc_weight is None else request.ctc_weight
    if not 0 <= weight <= 1:
        raise SpeechError(f"ctc_weight {weight:g} is outside 0 ... 1")
    if weight and not ctc:
        raise SpeechError(f"ctc_weight {weight:g}: this model has no CTC head; choose 0")
    language = request.target_language or own
    words = HotWords.from_texts(request.hotwords, tokenizer, language=language) if request.hotwords else None
    guards = Guards(
        request.compression_ratio_threshold,
        request.logprob_threshold,
        request.no_speech_threshold,
        request.ctc_agreement_threshold,
    )
    first = Decoding(prompt, options, how, weight, words, guards)
    wider = replace(options, size=max(options.size, SECOND_BEAM))
    second = replace(first, options=wider, ctc_weight=max(weight, SECOND_CTC_WEIGHT) if ctc else 0.0)
    return replace(first, second=second) if second != first else first


def _options(request: Request, generation: GenerationConfig, eos: int, prompt_length: int) -> BeamOptions:
    g = generation
    size = g.beam_size if request.beam_size is None else request.beam_size
    alpha = g.length_penalty if request.length_penalty is None else request.length_penalty
    if size < 1:
        raise SpeechError(f"beam_size {size} must be at least 1")
    if not abs(alpha) <= MAX_LENGTH_PENALTY:
        raise SpeechError(f"length_penalty {alpha:g} is outside -{MAX_LENGTH_PENALTY:g} ... {MAX_LENGTH_PENALTY:g}")
    return BeamOptions(
        eos=eos,
        size=size,
        length_penalty=alpha,
        length_offset=prompt_length if g.count_prompt else 0,
        temperature=g.temperature,
        eos_penalty=g.eos_penalty,
        ended_stay=g.ended_stay or bool(request.hotwords),  # else the search cannot end before the cap: a word may come
        rank_normalised=g.rank_normalised,
    )


def _word_times(request: Request, tokenizer: BaseTokenizer, generation: GenerationConfig, ctc: bool) -> str:
    how, tokens = request.word_times, bool(tokenizer.times) and "timestamp" in FORMATS[generation.prompt_format]
    if how not in WORD_TIMES:
        raise SpeechError(f"word_times {how!r} is not one of {', '.join(WORD_TIMES)}")
    if (how == "ctc" and not ctc) or (how == "tokens" and not tokens):
        lacks = "CTC head" if how == "ctc" else "tokens of time"
        raise SpeechError(f"word_times {how!r}: this model has no {lacks}; choose auto or attention")
    if how != "auto":
        return how
    return "ctc" if ctc else "tokens" if tokens and request.word_timestamps else "attention"
