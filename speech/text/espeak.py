"""IPA from espeak-ng, any of its languages. Needs the extra `espeak`, which is GPL-3 at run time."""

import ctypes
import difflib
import re
import threading
import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from speech.errors import SpeechError
from speech.text.phonemes import BLANK, Phonemizer
from speech.text.spoken import shown

# espeak-ng's speak_lib.h
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
CHARS_UTF8, PHONEMES_IPA = 1, 2

CODE = re.compile(r"^language\s+(\S+)", re.MULTILINE)
STRESS = "ˈˌ"
SWITCH = re.compile(r"\([a-z][a-z0-9-]*\)")  # espeak marks words that it reads as another language
LONG_WORD = re.compile(r"\S{40}(?=\S)")  # espeak drops what is past 160 bytes of a word, so long ones are cut
_lock = threading.Lock()  # espeak keeps its state in globals


def open_espeak() -> tuple[ctypes.CDLL, int]:
    """The library, made ready once for the process, and its sample rate."""
    try:
        import espeakng_loader  # pyright: ignore[reportMissingImports]  (optional extra)

        return _initialized(espeakng_loader.get_library_path(), espeakng_loader.get_data_path())
    except (ImportError, OSError) as error:
        raise SpeechError(f"no espeak-ng ({error}); install the extra: pip install 'parlance-speech[espeak]'") from None


@cache
def _initialized(path: str, data: str) -> tuple[ctypes.CDLL, int]:
    library = ctypes.CDLL(path)
    sample_rate = library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode(), INITIALIZE_DONT_EXIT)
    if sample_rate <= 0:
        raise SpeechError(f"espeak-ng cannot read its data in {data}; install the extra espeak anew")
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    return library, sample_rate


@cache
def espeak_languages() -> list[str]:
    """Codes such as en-us, de, cmn: espeak's files of languages name them."""
    open_espeak()
    from espeakng_loader import get_data_path  # pyright: ignore[reportMissingImports]  (optional extra)

    files = (file for file in Path(get_data_path(), "lang").rglob("*") if file.is_file())
    return sorted({code for file in files for code in CODE.findall(file.read_text(encoding="utf-8"))})


class EspeakPhonemizer(Phonemizer):
    """IPA, a token a sound: with its length and other marks, and the stress that stands before it.

    `language` is a code of espeak's; its `en` is British, `en-us` American.
    """

    kind = "espeak"

    def __init__(self, language: str, words: Mapping[str, str] | None = None):
        super().__init__(language, words)
        if language not in (codes := espeak_languages()):
            near = difflib.get_close_matches(language, codes, 6, 0.3) or codes[:6]
            raise SpeechError(f"espeak-ng has no language '{language}', near it are {', '.join(near)}")

    def _phrase(self, text: str) -> list[str]:
        library, _ = open_espeak()
        clauses: list[str] = []
        text = LONG_WORD.sub(r"\g<0> ", text)
        data = ctypes.c_char_p(text.encode())
        with _lock:
            if library.espeak_SetVoiceByName(self.language.encode()):
                raise SpeechError(f"espeak-ng cannot load its language '{self.language}'; install espeak anew")
            while data.value:  # espeak moves it past what it has read, None at the end
                clauses.append(library.espeak_TextToPhonemes(ctypes.byref(data), CHARS_UTF8, PHONEMES_IPA).decode())
        tokens = ipa_tokens(" ".join(clauses))
        if not tokens and any(c.isalnum() for c in text):
            raise SpeechError(f"espeak-ng has no phonemes for '{shown(text)}' in '{self.language}'; write it in words")
        return tokens


def ipa_tokens(ipa: str) -> list[str]:
    """`hˈɑːt` to `h ˈɑː t`: a sign opens a token, modifiers, tones and dots belong to the one before."""
    tokens: list[str] = []
    stress = ""
    for c in unicodedata.normalize("NFC", SWITCH.sub("", ipa)):
        if c in STRESS:
            stress += c
        elif c.isspace():
            tokens.append(BLANK)
        elif tokens and tokens[-1] != BLANK and _is_modifier(c):
            tokens[-1] += c
        elif c not in "-_|":  # joints
            tokens.append(stress + c)
            stress = ""
    return tokens


def _is_modifier(c: str) -> bool:
    return unicodedata.category(c)[0] in "MN" or unicodedata.category(c) in ("Lm", "Sk") or c == "."
