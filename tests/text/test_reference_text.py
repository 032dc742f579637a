"""Ours == the tokenizers and prompts of the original implementations, on every reference case below SPEECH_FIXTURES."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from speech.errors import SpeechError
from speech.importers import canary, firered
from speech.text.load import load_tokenizer
from speech.text.prompt import Prompt

ROOT = os.environ.get("SPEECH_FIXTURES")
CASES = sorted(path.parent for path in Path(ROOT).glob("*/case.json")) if ROOT else []
pytestmark = pytest.mark.skipif(not CASES, reason="SPEECH_FIXTURES is unset or has no case.json")
FLAGS = {"pnc": "punctuation", "itn": "itn", "timestamp": "timestamp", "diarize": "diarize"}


class Case:
    def __init__(self, folder: Path):
        self.facts = json.loads((folder / "case.json").read_text())
        self.firered = (folder / "dict.txt").exists()
        self.tokenizer = firered.read(folder)[1] if self.firered else canary.read(folder / "model.nemo")[1]
        self.format = self.facts["model"].get("prompt_format", "firered" if self.firered else "")

    def decoded(self) -> Iterator[tuple[list[int], str]]:
        """Every list of ids with its text."""
        for example in self.facts["tokenizer"].get("decode_examples", []):
            yield example["ids"], example["text"]
        for example in self.facts["tokenizer"]["encode_examples"]:
            if "decoded" in example:
                yield example["ids"], example["decoded"]
        for search in self.facts["decoding"]["searches"].values():
            for best in search["utterances"]:
                yield from ((hypothesis["ids"], hypothesis["text"]) for hypothesis in best)

    def encoded(self) -> Iterator[tuple[str, str | None, list[int]]]:
        """Every text with its language and ids."""
        for example in self.facts["tokenizer"]["encode_examples"]:
            yield example["text"], example.get("language"), example["ids"]
        for utterance in self.facts.get("utterances", []):
            for transcript in utterance["transcripts"]:
                yield transcript["text"], utterance["prompt_slots"]["target_lang"][2:-2], transcript["ids"]

    def prompts(self) -> Iterator[tuple[Prompt, list[int]]]:
        if self.firered:
            yield Prompt(), [self.facts["special_ids"]["sos"]]
        for example in self.facts["tokenizer"].get("prompt_examples", []):
            yield prompt(example["slots"]), example["ids"]
        for utterance in self.facts.get("utterances", []):
            yield prompt(utterance["prompt_slots"]), utterance["prompt_ids"]


def prompt(slots: dict[str, str]) -> Prompt:
    source, target = (slots[name][2:-2] for name in ("source_lang", "target_lang"))
    flags: dict[str, Any] = {ours: slots[name] == f"<|{name}|>" for name, ours in FLAGS.items()}
    emotion = slots["emotion"].removeprefix("<|emo:").removesuffix("|>")
    task = "transcribe" if source == target else "translate"
    return Prompt(task, source, target, context=slots["decodercontext"], emotion=emotion, **flags)


@pytest.fixture(scope="module", params=CASES, ids=lambda path: path.name)
def case(request) -> Case:
    return Case(request.param)


def test_text_to_ids(case):
    examples = list(case.encoded())
    assert examples
    for text, language, ids in examples:
        assert case.tokenizer.encode(text, language) == ids, text


def test_ids_to_text(case):
    examples = list(case.decoded())
    assert len(examples) > len(case.facts["decoding"]["searches"])
    for ids, text in examples:
        assert case.tokenizer.decode(ids) == text.strip()  # Canary's begin with the blank of the first word


def test_prompts(case):
    examples = list(case.prompts())
    assert examples
    for asked, ids in examples:
        assert asked.ids(case.tokenizer, case.format) == ids, asked


def test_sizes_and_symbols(case):
    facts, tokenizer = case.facts, case.tokenizer
    assert tokenizer.size == facts["model"].get("vocabulary", facts["model"].get("vocabulary_size"))
    layout = facts["tokenizer"].get("layout", [])
    ends = [part["offset"] for part in layout[1:]] + [tokenizer.size]
    for part, end in zip(layout, ends if layout else [], strict=True):
        assert (tokenizer.offsets[part["name"]], part["offset"] + part["size"]) == (part["offset"], end)
    ours = {"pad": tokenizer.pad_id, "eos": tokenizer.eos_id, "bos": tokenizer.bos_id, "sos": tokenizer.bos_id}
    ours |= {"unk": tokenizer.unk_id, "blank": tokenizer.blank_id}
    theirs = {name: i for name, i in facts["special_ids"].items() if isinstance(i, int)}
    assert theirs and theirs == {name: ours[name] for name in theirs}
    for i in range(tokenizer.size, facts["model"].get("padded_vocabulary", tokenizer.size + 1)):
        with pytest.raises(SpeechError, match=f"^token {i} is outside the {tokenizer.size} "):
            tokenizer.decode([i])


def test_the_folder_gives_the_same(case, tmp_path):
    case.tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.fingerprint == case.tokenizer.fingerprint and again.pieces == case.tokenizer.pieces
    for text, language, ids in case.encoded():
        assert again.encode(text, language) == ids
    for asked, ids in case.prompts():
        assert asked.ids(again, case.format) == ids
    for ids, text in case.decoded():
        assert again.decode(ids) == text.strip()
