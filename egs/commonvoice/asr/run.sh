#!/usr/bin/env bash
# Read English sentences of a crowd: bash egs/commonvoice/asr/run.sh [--stage N] [--stop_stage N] [--corpus DIR]
#     [--conf conf/small.yaml] [--exp exp/small] [--vocab 256] [--fit_memory 0.9]
# DIR is a language folder of a Common Voice release, or a folder with manifest.tsv; without it SPEECH_CORPORA has
# en_commonvoice1_test. --conf and --exp count from this folder. --fit_memory finds batch
# sizes that fill this share of the GPU. Further options go to `speech train`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../common.sh"
corpus="" conf=conf/small.yaml exp=exp/small vocab=256 fit_memory=""
options "corpus conf exp vocab fit_memory" "$@"
corpus=${corpus:+$(realpath -- "$corpus")}
setup
cd "$root/egs/commonvoice/asr"
sets=(data/dev.jsonl.gz data/test.jsonl.gz)

if run_stage 0 "data: manifests with normalised text"; then
    python -m recipes.prepare.commonvoice --out data ${corpus:+--corpus "$corpus"}
fi

if run_stage 1 "validate the manifests"; then
    for manifest in data/train.jsonl.gz "${sets[@]}"; do speech data validate "$manifest"; done
fi

if run_stage 2 "tokenizer"; then
    python -m recipes.train_tokenizer --manifest data/train.jsonl.gz --out "data/bpe$vocab/tokenizer.model" \
        --vocab_size "$vocab"
fi

settings=(--config "$conf" --data.train data/train.jsonl.gz --data.tokenizer "data/bpe$vocab/tokenizer.model"
    --data.bins "data/bpe$vocab/bins.json" --train.out "$exp" ${rest[@]+"${rest[@]}"})
if run_stage 3 "bins: which lengths there are, drawn in data/bpe$vocab/bins.png"; then
    speech data bins "${settings[@]}"
fi

if run_stage 4 "batch sizes that fill the memory (only with --fit_memory)" && [ -n "$fit_memory" ]; then
    speech data batch-sizes "${settings[@]}" --data.batch_sizes "$exp/batch_sizes.json" --fraction "$fit_memory"
fi
[ -z "$fit_memory" ] || settings+=(--data.batch_sizes "$exp/batch_sizes.json")

if run_stage 5 "train (goes on where an earlier run stopped)"; then
    speech train "${settings[@]}" --data.dev data/dev.jsonl.gz
fi

if run_stage 6 "error rates, greedy search"; then
    speech evaluate "$exp/model" "${sets[@]}" --beam_size 1 --out "$exp/greedy"
fi

if run_stage 7 "error rates, beam of 4"; then
    speech evaluate "$exp/model" "${sets[@]}" --beam_size 4 --worst 0 --out "$exp/beam4"
fi

if run_stage 8 "transcribe three test files"; then
    mapfile -t files < <(speech data files data/test.jsonl.gz --count 3)
    speech transcribe "$exp/model" "${files[@]}" --output_dir "$exp/transcripts"
fi
took "loss curves: egs/commonvoice/asr/$exp/curves.png"
