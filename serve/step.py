"""The decoder's graph as a step of the search: caches stay on the device in buffers that are written in place."""

from typing import Any, NamedTuple

import numpy as np

from serve.sessions import Bound, Session
from speech.errors import SpeechError
from speech.search.beam import Scores, memory_rows

ROOM = 32  # places of a new buffer, doubled when they are full


class DecodeState(NamedTuple):
    past: dict[str, Any]  # buffers [N, S, C]; S is `room`
    room: int
    filled: int
    utterance: np.ndarray  # [N] utterance of each row
    memory: dict[str, Any]  # cross keys and values of M rows: the beams of an utterance share one
    owner: np.ndarray  # [M] utterance of each row of memory
    bound: Bound  # the graph with these caches and this memory


class Decoder:
    """The graphs of the decoder and what its caches look like."""

    def __init__(self, decoder: Session, gather: Session):
        self.decoder, self.gather = decoder, gather
        cache = decoder.inputs["past_key_0"]
        self.width, self.vocabulary = cache.shape[2], decoder.outputs["log_probs"].shape[2]
        if cache.type == "tensor(bfloat16)":
            raise SpeechError("precision bf16: numpy has no such caches; choose 16 or 32")
        self.dtype = np.float16 if cache.type == "tensor(float16)" else np.float32
        self.places = [name for name in gather.inputs if name != "rows"]
        self.names = [name.removeprefix("present") for name in decoder.outputs if name.startswith("present")]

    def rows(self, values: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
        """These rows of each of the caches or of the memory."""
        found = self.gather.run({**dict(zip(self.places, values.values(), strict=True)), "rows": rows})
        return dict(zip(values, found.values(), strict=True))

    def empty(self, rows: int, room: int) -> dict[str, Any]:
        shape = (rows, room, self.width)
        return {f"past{name}": self.decoder.value(np.zeros(shape, self.dtype)) for name in self.names}

    def longer(self, past: dict[str, Any], more: int) -> dict[str, Any]:
        return {name: self.decoder.value(np.pad(x.numpy(), ((0, 0), (0, more), (0, 0)))) for name, x in past.items()}

    def bind(self, frames: np.ndarray, memory: dict[str, Any], past: dict[str, Any]) -> Bound:
        """Steps that look at this memory and write to these caches."""
        into = {f"present{name}": past[f"past{name}"] for name in self.names}
        return Bound(self.decoder, {"frames": frames, **memory, **past}, into)

    def run(self, bound: Bound, tokens: np.ndarray, filled: int) -> np.ndarray:
        """tokens [N, U] behind `filled` others -> log-probabilities [N, U, V]; the caches are written."""
        log_probs = np.empty((*tokens.shape, self.vocabulary), np.float32)
        bound.run({"tokens": tokens, "filled": np.full(len(tokens), filled)}, {"log_probs": log_probs})
        return log_probs


class Step:
    """`first(prompts)` gives the scores after the prompt, then the object itself is the step of the search."""

    def __init__(self, decoder: Decoder, memory: dict[str, Any], frames: np.ndarray):
        self.decoder, self.memory, self.frames = decoder, memory, frames

    def first(self, prompts: np.ndarray) -> tuple[Scores, DecodeState]:
        """prompts [B, P] -> scores [B, V] of the first text token."""
        log_probs, state = self.verify(prompts, 0, None)
        return Scores(log_probs[:, -1]), state

    def __call__(self, tokens: np.ndarray, parents: np.ndarray, state: DecodeState) -> tuple[Scores, DecodeState]:
        """tokens [N], parents [N]: rows of the previous call that each row continues."""
        if not np.array_equal(parents, np.arange(len(state.utterance))):
            utterance = state.utterance[parents]
            owner, memory = memory_rows(utterance), state.memory
            if not np.array_equal(owner, state.owner):  # utterances finished
                memory = self.decoder.rows(self.memory, owner)
            past = self.decoder.rows(state.past, parents)
            state = self._state(past, state.room, state.filled, utterance, memory, owner)
        log_probs, state = self.verify(tokens[:, None], state.filled, state)
        return Scores(log_probs[:, -1]), state

    def verify(self, tokens: np.ndarray, filled: int, state: DecodeState | None) -> tuple[np.ndarray, DecodeState]:
        """tokens [N, U] behind the first `filled` of a state, None where there is none yet -> log-probabilities
        [N, U, V] after each. What the state holds behind `filled` is hidden by the mask until it is written over."""
        needed = filled + tokens.shape[1]
        if state is None:
            rows, room = np.arange(len(tokens)), -(-(needed + 1) // ROOM) * ROOM
            state = self._state(self.decoder.empty(len(tokens), room), room, 0, rows, self.memory, rows)
        elif needed > state.room:
            more = max(state.room, needed - state.room)
            past = self.decoder.longer(state.past, more)
            state = self._state(past, state.room + more, filled, state.utterance, state.memory, state.owner)
        return self.decoder.run(state.bound, tokens, filled), state._replace(filled=needed)

    def _state(
        self,
        past: dict[str, Any],
        room: int,
        filled: int,
        utterance: np.ndarray,
        memory: dict[str, Any],
        owner: np.ndarray,
    ) -> DecodeState:
        bound = self.decoder.bind(self.frames[owner], memory, past)
        return DecodeState(past, room, filled, utterance, memory, owner, bound)
