#!/usr/bin/env bash
# From nothing to a recogniser of spoken digits: bash egs/digits/run.sh [--stage N] [--stop_stage N] [--corpus PATH]
#     [--paces yes]
# PATH is a folder with manifest.tsv or the public archive. With --paces yes the model then learns slow and fast speech,
# as exp/paces/model. Further options go to `speech train`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
corpus="" paces=no
options "corpus paces" "$@"
corpus=${corpus:+$(realpath -- "$corpus")}
setup
cd "$root/egs/digits"
tests=(data/single-test.jsonl.gz data/test.jsonl.gz data/test-long.jsonl.gz)

if run_stage 0 "data: spoken digits, single and joined into strings"; then
    python -m recipes.prepare.digits --out data ${corpus:+--corpus "$corpus"}
fi

if run_stage 1 "validate the manifests"; then
    for manifest in data/train.jsonl.gz data/dev.jsonl.gz "${tests[@]}"; do speech data validate "$manifest"; done
fi

if run_stage 2 "tokenizer"; then
    python -m recipes.train_tokenizer --manifest data/train.jsonl.gz --out data/tokenizer.model --vocab_size 64
fi

if run_stage 3 "bins: which lengths there are, drawn in data/bins.png"; then
    speech data bins data/train.jsonl.gz --config conf/train.yaml --data.tokenizer data/tokenizer.model \
        --data.bins data/bins.json --buckets 10 ${rest[@]+"${rest[@]}"}
fi

if run_stage 4 "train (goes on where an earlier run stopped)"; then
    speech train --config conf/train.yaml --data.train data/train.jsonl.gz --data.dev data/dev.jsonl.gz \
        --data.tokenizer data/tokenizer.model --data.bins data/bins.json --train.out exp ${rest[@]+"${rest[@]}"}
fi

if run_stage 5 "error rates of the decoder alone, greedy search"; then
    speech evaluate exp/model "${tests[@]}" --ctc_weight 0 --out exp/decoder
fi

if run_stage 6 "error rates of decoder and CTC head together, greedy search"; then
    speech evaluate exp/model "${tests[@]}" --worst 0 --out exp/joint
fi

if run_stage 7 "transcribe three test files"; then
    mapfile -t files < <(speech data files data/single-test.jsonl.gz --count 3)
    speech transcribe exp/model "${files[@]}" --output_dir exp/transcripts
    ls exp/transcripts
fi

if run_stage 8 "export: what \`speech demo\` opens"; then
    speech export exp/model exp/onnx --precision 32 int8
    mkdir -p exp/onnx/examples
    python -c "
from speech.data.manifests import open_manifest
for i, cut in zip((1, 2, 3), open_manifest('data/test.jsonl.gz')):
    cut.save_audio(f'exp/onnx/examples/digits-{i}.wav')"
fi

if [ "$paces" = yes ] && run_stage 9 "slow and fast speech: train on, at tempos of 0.4 to 2.2"; then
    speech train --init exp/model --config conf/train.yaml --config conf/paces.yaml --data.train data/train.jsonl.gz \
        --data.dev data/dev.jsonl.gz --train.out exp/paces
    speech evaluate exp/paces/model "${tests[@]}" --worst 0 --out exp/paces/joint
fi
case "$(speech data files data/train.jsonl.gz --count 1)" in
    */synthetic/*) say "SYNTHETIC SPEECH: these numbers are of espeak-ng's voices and say nothing about real speech" ;;
esac
took "loss curves: egs/digits/exp/curves.png"
