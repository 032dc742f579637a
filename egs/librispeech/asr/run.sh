#!/usr/bin/env bash
# Read English books: bash egs/librispeech/asr/run.sh [--stage N] [--stop_stage N] [--corpus DIR]
#     [--parts librispeech|mini_librispeech] [--conf conf/base.yaml] [--exp exp/base] [--vocab 1024] [--fit_memory 0.9]
# DIR is the unpacked folder LibriSpeech (train-clean-100/, dev-clean/, ...); without it the parts are downloaded from
# openslr.org, 60 GB or 0.5 GB. --conf and --exp count from this folder. --fit_memory finds batch sizes that fill this
# share of the GPU. Further options go to `speech train`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../common.sh"
corpus="" parts=librispeech conf=conf/base.yaml exp=exp/base vocab=1024 fit_memory=""
options "corpus parts conf exp vocab fit_memory" "$@"
corpus=${corpus:+$(realpath -- "$corpus")}
setup
cd "$root/egs/librispeech/asr"
data="data/$parts"
tokens="$data/bpe$vocab"

if run_stage 0 "data: manifests with normalised text"; then
    python -m recipes.prepare.librispeech --out "$data" --parts "$parts" ${corpus:+--corpus "$corpus"}
fi
mapfile -t sets < <(find "$data" -maxdepth 1 -name 'dev-*.jsonl.gz' -o -maxdepth 1 -name 'test-*.jsonl.gz' | sort)

if run_stage 1 "validate the manifests"; then
    for manifest in "$data/train.jsonl.gz" "$data/dev.jsonl.gz" "${sets[@]}"; do speech data validate "$manifest"; done
fi

if run_stage 2 "tokenizer"; then
    python -m recipes.train_tokenizer --manifest "$data/train.jsonl.gz" --out "$tokens/tokenizer.model" \
        --vocab_size "$vocab"
fi

settings=(--config "$conf" --data.train "$data/train.jsonl.gz" --data.tokenizer "$tokens/tokenizer.model"
    --data.bins "$tokens/bins.json" --train.out "$exp" ${rest[@]+"${rest[@]}"})
if run_stage 3 "bins: which lengths there are, drawn in $tokens/bins.png"; then
    speech data bins "${settings[@]}"
fi

if run_stage 4 "batch sizes that fill the memory (only with --fit_memory)" && [ -n "$fit_memory" ]; then
    speech data batch-sizes "${settings[@]}" --data.batch_sizes "$exp/batch_sizes.json" --fraction "$fit_memory"
fi
[ -z "$fit_memory" ] || settings+=(--data.batch_sizes "$exp/batch_sizes.json")

if run_stage 5 "train (goes on where an earlier run stopped)"; then
    speech train "${settings[@]}" --data.dev "$data/dev.jsonl.gz"
fi

if run_stage 6 "error rates, greedy search"; then
    speech evaluate "$exp/model" "${sets[@]}" --beam_size 1 --out "$exp/greedy"
fi

if run_stage 7 "error rates, beam of 4"; then
    speech evaluate "$exp/model" "${sets[@]}" --beam_size 4 --worst 0 --out "$exp/beam4"
fi
took "loss curves: egs/librispeech/asr/$exp/curves.png"
