"""What a server takes at most."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    upload_bytes: int = 25 << 20  # of a body with a recording
    json_bytes: int = 1 << 20  # of a body with a text
    parts: int = 64  # fields of a form, and files
    field_bytes: int = 64 << 10  # of a field that is no file
    audio_seconds: float = 7200.0  # of a decoded recording
    decode_seconds: float = 60.0  # that decoding may take
    decode_bytes: int = 300 << 20  # of addresses that a decoding process may take beyond those it starts with
    decoders: int = 2  # such processes
    characters: int = 4096  # of a text to speak
    requests: int = 64  # inside at once: decoding, waiting or served; others are told to come again
    request_seconds: float = 600.0  # that a request may take
    batch_size: int = 16  # pieces recognised at once
    padding: float = 0.1  # of a batch's sound that may be silence behind shorter ones; a CPU works on it as long
    window_seconds: float = 0.01  # that a recording waits for others to be recognised with
