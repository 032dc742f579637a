#!/usr/bin/env bash
# A folder in, a voice out: bash egs/voice/tts/run.sh --corpus DIR --language CODE [--phonemizer espeak] [--speaker NAME]
#     [--stage N] [--stop_stage N] [--name NAME] [--conf conf/small.yaml] [--exp exp/small] [--teacher yes]
#     [--recognizer MODEL] [--sentences FILE] [--text "a sentence to speak at the end"]
# DIR has manifest.tsv (id, speaker, split, duration, audio, text; language where there are several) and its audio.
# CODE is a voice of espeak-ng such as en-us, de or pt-br. Data and experiments lie in NAME here (default: that of DIR).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../common.sh"
source "$root/egs/voice.sh"
language="" text="" phonemizer=espeak speaker="" name=""
own="language text phonemizer speaker name"
voice_options "$@"
[ -n "$corpus" ] || die "give --corpus DIR, a folder with manifest.tsv"
[ -n "$language" ] || die "give --language CODE, such as en-us"
setup
conf=$(realpath -- "$root/egs/voice/tts/$conf")
mkdir -p "$root/egs/voice/tts/${name:-$(basename "$corpus")}"
cd "$root/egs/voice/tts/${name:-$(basename "$corpus")}"
if run_stage 0 "data: phonemes, silence trimmed"; then
    python -m recipes.prepare.voice --corpus "$corpus" --phonemizer "$phonemizer" --language "$language" \
        ${speaker:+--speaker "$speaker"} --out data
fi
voice_stages
