"""Makes canary_folder/ with transformers 5.24.0 and tokenizers 0.23.3: `python make_canary_folder.py`.

A random Canary as `save_pretrained` writes it, its processor from a small SentencePiece model by the `CanaryConverter`
of transformers, and what transformers answered: features, encoder output, logits, greedy tokens, ids of texts.
"""

import io
import json
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from safetensors.torch import save_file
from transformers import (
    CanaryConfig,
    CanaryForConditionalGeneration,
    CanaryProcessor,
    ParakeetFeatureExtractor,
    TokenizersBackend,
)
from transformers.convert_slow_tokenizer import CanaryConverter

FOLDER = Path(__file__).parent / "canary_folder"
START = "nospeech pad endoftext startoftranscript pnc nopnc startofcontext"
SYMBOLS = f"{START} noitn notimestamp nodiarize emo:undefined en de"
PROMPT = "startofcontext startoftranscript emo:undefined en en pnc noitn notimestamp nodiarize"
LINES = ["hello my friend how are you", "the weather is nice today", "guten abend mein freund", "das wetter ist gut"]
TEXTS = ["hello my friend", "the weather is good 24", "guten tag", "  guten  abend ", "guten 7"]


def clip(samples: int) -> np.ndarray:
    """A rising tone in bursts, over something like noise: squares modulo a prime."""
    n = np.arange(samples)
    t, noise = n / 16000, (n * n % 104729) / 104729 - 0.5
    tone = np.sin(2 * np.pi * (200 + 900 * t) * t) * np.sin(2 * np.pi * 3 * t) ** 2
    return (0.3 * tone + 0.02 * noise).astype(np.float32)


def main() -> None:
    model = io.BytesIO()
    symbols = ["<pad>" if name == "pad" else f"<|{name}|>" for name in SYMBOLS.split()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_writer=model,
        model_type="bpe",
        vocab_size=62,
        user_defined_symbols=[*symbols, *"0123456789"],
        normalization_rule_name="identity",  # the table of the usual rule has 300 kB
        bos_id=-1,
        eos_id=-1,
        num_threads=1,
    )
    FOLDER.mkdir(exist_ok=True)
    spe = FOLDER / "spe.model"
    spe.write_bytes(model.getvalue())
    tokenizer = TokenizersBackend(
        tokenizer_object=CanaryConverter(str(spe)).converted(),
        clean_up_tokenization_spaces=False,
        bos_token="<|startoftranscript|>",
        eos_token="<|endoftext|>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    extractor = ParakeetFeatureExtractor(
        feature_size=16, sampling_rate=16000, win_length=400, hop_length=160, n_fft=512
    )
    CanaryProcessor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(FOLDER)
    size = dict(hidden_size=8, intermediate_size=16, num_attention_heads=2)
    encoder = dict(model_type="parakeet_encoder", num_hidden_layers=1, num_mel_bins=16, subsampling_conv_channels=4)
    decoder = dict(num_hidden_layers=2, num_key_value_heads=2, head_dim=4, max_position_embeddings=64, vocab_size=64)
    config = CanaryConfig(
        vocab_size=64,
        encoder_config=dict(**size, **encoder, scale_input=False, layerdrop=0.0, conv_kernel_size=5),
        decoder_config=dict(**size, **decoder),
    )
    canary = CanaryForConditionalGeneration(config).eval()
    generator = torch.Generator().manual_seed(23)
    with torch.no_grad():
        for name, tensor in [*canary.named_parameters(), *canary.named_buffers()]:
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif name.endswith(("bias", "bias_u", "bias_v", "running_mean")):
                tensor.normal_(0, 0.3, generator=generator)
            elif tensor.ndim > 1 and "pos_emb" not in name:
                tensor.normal_(0, 1.5 * tensor[0].numel() ** -0.5, generator=generator)
    canary.save_pretrained(FOLDER)
    heard = extractor([clip(9000), clip(5200)], sampling_rate=16000, return_tensors="pt")
    features, mask = heard.input_features.contiguous(), heard.attention_mask
    known = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    prompt = [known.piece_to_id(f"<|{name}|>") for name in PROMPT.split()]
    ids = torch.tensor([[*prompt, *range(20, 28)], [*prompt, *range(60, 52, -1)]])
    with torch.no_grad():
        encoded = canary.model.encoder(features, attention_mask=mask)
        logits = canary(input_features=features, attention_mask=mask, decoder_input_ids=ids).logits
        found = canary.generate(
            input_features=features,
            attention_mask=mask,
            decoder_input_ids=torch.tensor([prompt] * 2),
            max_new_tokens=20,
            do_sample=False,
        )
    save_file(
        {
            "features": features,
            "lengths": mask.sum(1),
            "encoded": encoded.last_hidden_state,
            "encoded_lengths": encoded.attention_mask.sum(1),
            "ids": ids,
            "logits": logits,
            "greedy": found,
        },
        FOLDER / "expected.safetensors",
    )
    texts = {text: [known.encode(text), tokenizer(text)["input_ids"]] for text in TEXTS}
    (FOLDER / "expected.json").write_text(json.dumps({"prompt": prompt, "texts": texts}) + "\n")
    spe.unlink()
    print(found[:, len(prompt) :].tolist(), [a == b for a, b in texts.values()])


if __name__ == "__main__":
    main()
