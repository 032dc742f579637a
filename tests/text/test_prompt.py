import pytest

from speech.errors import DataError, SpeechError
from speech.text.prompt import FORMATS, Prompt

GERMAN = dict(source_language="de", target_language="de")
TRANSLATION = dict(task="translate", source_language="en", target_language="de")


def names(tokenizer, ids):
    return [tokenizer.pieces[i] for i in ids]


@pytest.mark.parametrize("kind", ["own", "aggregate"])
def test_canary(request, kind):
    tokenizer = request.getfixturevalue(kind)
    for asked, slots in [
        ({}, "<|en|> <|transcribe|> <|en|> <|nopnc|>"),
        (GERMAN, "<|de|> <|transcribe|> <|de|> <|nopnc|>"),
        (TRANSLATION | {"punctuation": True}, "<|en|> <|translate|> <|de|> <|pnc|>"),
    ]:
        assert names(tokenizer, Prompt(**asked).ids(tokenizer)) == ["<|startoftranscript|>", *slots.split()]


def test_canary2(aggregate, unified):
    for asked, slots in [
        ({}, "<|emo:undefined|> <|en|> <|en|> <|nopnc|> <|noitn|> <|notimestamp|> <|nodiarize|>"),
        (TRANSLATION, "<|emo:undefined|> <|en|> <|de|> <|nopnc|> <|noitn|> <|notimestamp|> <|nodiarize|>"),
        (
            GERMAN | dict(punctuation=True, itn=True, timestamp=True, diarize=True, emotion="sad"),
            "<|emo:sad|> <|de|> <|de|> <|pnc|> <|itn|> <|timestamp|> <|diarize|>",
        ),
    ]:
        expected = ["<|startofcontext|>", "<|startoftranscript|>", *slots.split()]
        assert names(aggregate, Prompt(**asked).ids(aggregate, "canary2")) == expected
        assert names(unified, Prompt(**asked).ids(unified, "canary2")) == ["\u2581", *expected]
    assert len(Prompt().ids(aggregate, "canary2")) == 9 and len(Prompt().ids(unified, "canary2")) == 10


@pytest.mark.parametrize("kind", ["aggregate", "unified"])
def test_the_context_is_of_the_target_language(request, kind):
    tokenizer = request.getfixturevalue(kind)
    ids = Prompt(**TRANSLATION, context="guten abend").ids(tokenizer, "canary2")
    plain = Prompt(**TRANSLATION).ids(tokenizer, "canary2")
    at = len(tokenizer.prompt_lead) + 1
    context = tokenizer.encode_context("guten abend", "de")
    assert context and ids == [*plain[:at], *context, *plain[at:]]
    with pytest.raises(DataError, match="outside the vocabulary"):
        Prompt(**TRANSLATION, context="你").ids(tokenizer, "canary2")


def test_firered(firered):
    start = [firered.special("<sos>")]
    for language in ("zh", "en"):
        assert Prompt(source_language=language, target_language=language).ids(firered, "firered") == start


@pytest.mark.parametrize(
    "asked, format, message",
    [
        ({}, "whisper", "prompt format 'whisper' is not one of canary, canary2, firered"),
        ({"task": "sing"}, "canary", "task 'sing' is not one of transcribe, translate"),
        ({"emotion": "bored"}, "canary2", "emotion 'bored' is not one of undefined, neutral, angry, happy, sad"),
        ({"source_language": "xx"}, "canary", "language 'xx' is not one of en, de"),
        ({"target_language": "xx"}, "canary2", "language 'xx' is not one of en, de"),
        ({"target_language": "de"}, "canary2", "task 'transcribe' from 'en' to 'de': it needs the same language"),
        ({"task": "translate"}, "canary2", "task 'translate' from 'en' to 'en': it needs another target language"),
        ({"itn": True}, "canary", "format 'canary' has no slot for itn, its slots are: source_language, task, target"),
        ({"context": "hello"}, "canary", "format 'canary' has no slot for context"),
        ({"emotion": "sad"}, "canary", "format 'canary' has no slot for emotion"),
    ],
)
def test_what_cannot_be_asked_is_named(aggregate, asked, format, message):
    with pytest.raises(SpeechError) as caught:
        Prompt(**asked).ids(aggregate, format)
    assert message in str(caught.value)


def test_firered_is_asked_for_nothing(firered):
    for asked, message in [
        ({"punctuation": True}, "prompt format 'firered' has no slot for punctuation, its slots are: none"),
        (dict(task="translate", target_language="zh"), "prompt format 'firered' cannot ask for the task 'translate'"),
        ({"target_language": "fr"}, "language 'fr' is not one of zh, en"),
    ]:
        with pytest.raises(SpeechError) as caught:
            Prompt(**asked).ids(firered, "firered")
        assert str(caught.value).startswith(message)


def test_a_format_of_another_tokenizer_names_the_symbol(own, firered):
    with pytest.raises(SpeechError, match=r"no special symbol '<\|startofcontext\|>'"):
        Prompt().ids(own, "canary2")
    with pytest.raises(SpeechError, match=r"no special symbol '<\|startoftranscript\|>'"):
        Prompt().ids(firered, "canary")


def test_every_slot_is_a_field():
    known = set(Prompt.__dataclass_fields__)
    assert {slot for slots in FORMATS.values() for slot in slots if slot[0] not in "<^"} == known
