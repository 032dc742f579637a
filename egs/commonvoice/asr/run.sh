#!/usr/bin/env bash
# Read English sentences of a crowd: bash egs/commonvoice/asr/run.sh [--stage N] [--stop_stage N] [--corpus DIR]
#     [--conf conf/small.yaml] [--exp exp/small] [--vocab 64]
# DIR is a language folder of a Common Voice release, or a folder with manifest.tsv; without it SPEECH_CORPORA has
# en_commonvoice1_test. --conf and --exp count from this folder. Further options go to `speech train`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../common.sh"
corpus="" conf=conf/small.yaml exp=exp/small vocab=64
options "corpus conf exp vocab" "$@"
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

if run_stage 3 "train (goes on where an earlier run stopped)"; then
    speech train --config "$conf" --data.train data/train.jsonl.gz --data.dev data/dev.jsonl.gz \
        --data.tokenizer "data/bpe$vocab/tokenizer.model" --train.out "$exp" ${rest[@]+"${rest[@]}"}
fi

if run_stage 4 "error rates, greedy search"; then
    speech evaluate "$exp/model" "${sets[@]}" --beam_size 1 --out "$exp/greedy"
fi

if run_stage 5 "error rates, beam of 4"; then
    speech evaluate "$exp/model" "${sets[@]}" --beam_size 4 --worst 0 --out "$exp/beam4"
fi

if run_stage 6 "transcribe three test files"; then
    mapfile -t files < <(speech data files data/test.jsonl.gz --count 3)
    speech transcribe "$exp/model" "${files[@]}" --output_dir "$exp/transcripts"
fi
took "loss curves: egs/commonvoice/asr/$exp/curves.png"
