"""Train the SentencePiece tokenizer of a corpus from the transcripts of a manifest."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from speech.errors import run


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="recipes.train_tokenizer", description=__doc__, allow_abbrev=False)
    parser.add_argument("--manifest", required=True, help="training cuts, .jsonl or .jsonl.gz")
    parser.add_argument("--out", required=True, help="tokenizer.model to write; tokens.txt is written beside it")
    parser.add_argument("--vocab_size", type=int, default=512, help="pieces at most, special tokens included")
    parser.add_argument("--kind", choices=("bpe", "char"), default="bpe")
    parser.add_argument("--byte_fallback", action="store_true", help="spell unknown characters by their bytes")
    parser.add_argument("--languages", nargs="+", default=["en"], help="languages of the prompt")
    args = parser.parse_args(argv)

    from speech.data.manifests import open_manifest
    from speech.text.tokenizer import Tokenizer

    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    texts = [cut.supervisions[0].text or "" for cut in list(open_manifest(args.manifest))]
    tokenizer = Tokenizer.train(texts, out, args.vocab_size, args.kind, args.byte_fallback, args.languages)
    tokenizer.save_tokens(out.with_name("tokens.txt"))
    print(f"{out}: {tokenizer.size} pieces from {len(texts)} transcripts")


if __name__ == "__main__":
    run(main)
