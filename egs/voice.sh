# shellcheck shell=bash
# The stages of every voice after its data: source it after common.sh, set $here, call `voice_options "$@"`, then
# `voice_stages`.

# Sets: corpus, conf, exp, teacher, recognizer, sentences; paths count from where the command was given.
voice_options() {
    corpus="" conf=conf/small.yaml exp="" teacher=no recognizer="" sentences=""
    options "corpus conf exp teacher recognizer sentences $*" "${arguments[@]}"
    [[ "$teacher" == yes || "$teacher" == no ]] || die "--teacher '$teacher' is yes or no"
    local name
    for name in corpus recognizer sentences; do
        [ -z "${!name}" ] || printf -v "$name" '%s' "$(realpath -- "${!name}")"
    done
    exp=${exp:-exp/$(basename "$conf" .yaml)}
}

has_part() { grep -q "^$1:" "$conf"; }

voice_stages() {
    local voice=$exp/fastspeech/voice
    local data=(--data.train data/train.jsonl.gz --data.dev data/dev.jsonl.gz)
    local phones=(--data.tokenizer data/voice)
    local durations=$exp/aligner/durations.npz

    if run_stage 1 "aligner: how long each phoneme lasts ($exp/aligner/alignment.png)"; then
        python -m recipes.train_aligner --config "$conf" "${data[@]}" "${phones[@]}" --train.out "$exp/aligner"
    fi

    local student=("${data[@]}") targets=()
    if [ "$teacher" = yes ]; then
        if run_stage 2 "teacher: Transformer TTS, then what it says of every text"; then
            python -m recipes.train_transformer_tts --config "$conf" "${data[@]}" "${phones[@]}" \
                --durations "$durations" --train.out "$exp/teacher"
            python -m recipes.distill "$exp/teacher/voice" --train data/train.jsonl.gz --dev data/dev.jsonl.gz \
                --out "$exp/distilled"
        fi
        student=(--data.train "$exp/distilled/train.jsonl.gz" --data.dev "$exp/distilled/dev.jsonl.gz")
        targets=(--mels "$exp/distilled/mels.npz")
        durations=$exp/distilled/durations.npz
    fi

    local prosody=()
    if grep -q "pitch: true" "$conf" && [ "$teacher" = no ]; then
        if run_stage 3 "pitch and energy of each phoneme"; then
            python -m recipes.measure_prosody --config "$conf" "${data[@]}" "${phones[@]}" --durations "$durations" \
                --out "$exp/prosody"
        fi
        prosody=(--pitch "$exp/prosody/pitch.npz" --energy "$exp/prosody/energy.npz")
    fi

    if run_stage 4 "FastSpeech"; then
        python -m recipes.train_fastspeech --config "$conf" "${student[@]}" "${phones[@]}" --durations "$durations" \
            ${prosody[@]+"${prosody[@]}"} ${targets[@]+"${targets[@]}"} --train.out "$exp/fastspeech" \
            ${rest[@]+"${rest[@]}"}
    fi

    if has_part vocoder && run_stage 5 "vocoder, finished on the mels of this voice"; then
        python -m recipes.train_vocoder --config "$conf" "${data[@]}" --train.out "$exp/vocoder"
        python -m recipes.predict_mels "$voice" --train data/train.jsonl.gz --dev data/dev.jsonl.gz \
            --durations "$exp/aligner/durations.npz" --out "$exp/mels.npz"
        python -m recipes.train_vocoder --config "$conf" "${data[@]}" --data.mels "$exp/mels.npz" \
            --init "$exp/vocoder/model" --train.out "$exp/vocoder-finished"
        rm -rf "$voice/vocoder"
        cp -r "$exp/vocoder-finished/model" "$voice/vocoder"
    fi

    if run_stage 6 "evaluate on the test set ($exp/report/index.html)"; then
        python -m recipes.evaluate_tts "$voice" --manifest data/test.jsonl.gz --durations "$exp/aligner/durations.npz" \
            ${recognizer:+--recognizer "$recognizer"} ${sentences:+--sentences "$sentences"} --out "$exp/report"
    fi
}
