# shellcheck shell=bash
# The stages of every voice after its data: source it after common.sh, call `voice_options "$@"`, then `voice_stages`,
# with a sentence to speak in $text.

# Sets corpus, conf, exp, teacher, vocoder, recognizer and sentences, whose paths count from where the command was given,
# and what else a recipe names in $own.
voice_options() {
    corpus="" conf=conf/small.yaml exp="" teacher=no vocoder=${vocoder:-no} recognizer="" sentences=""
    options "corpus conf exp teacher vocoder recognizer sentences ${own:-}" "$@"
    local name
    for name in teacher vocoder; do
        [[ "${!name}" == yes || "${!name}" == no ]] || die "--$name '${!name}' is yes or no"
    done
    for name in corpus recognizer sentences; do
        [ -z "${!name}" ] || printf -v "$name" '%s' "$(realpath -- "${!name}")"
    done
    exp=${exp:-exp/$(basename "$conf" .yaml)}
}

# corpus_folder NAME: the corpus that was given, else that of SPEECH_CORPORA.
corpus_folder() {
    local folder=${corpus:-${SPEECH_CORPORA:+$SPEECH_CORPORA/$1}}
    [ -n "$folder" ] || die "give --corpus DIR, or set SPEECH_CORPORA to a folder that holds $1"
    echo "$folder"
}

voice_stages() {
    local data=(--data.train data/train.jsonl.gz --data.dev data/dev.jsonl.gz)
    local phones=(--data.tokenizer data/voice)
    local aligned=$exp/aligner/durations.npz

    if run_stage 1 "aligner: how long each phoneme lasts ($exp/aligner/alignment.png)"; then
        python -m recipes.train_aligner --config "$conf" "${data[@]}" "${phones[@]}" --also '[data/test.jsonl.gz]' \
            --train.out "$exp/aligner"
    fi

    local run=$exp/fastspeech learn=("${data[@]}" --durations "$aligned") prosody=()
    if [ "$teacher" = yes ]; then
        run=$exp/student
        if run_stage 2 "teacher: Transformer TTS, then what it says of every text"; then
            python -m recipes.train_transformer_tts --config "$conf" "${data[@]}" "${phones[@]}" \
                --durations "$aligned" --train.out "$exp/teacher"
            python -m recipes.distill "$exp/teacher/voice" --train data/train.jsonl.gz --dev data/dev.jsonl.gz \
                --head -2 -1 --out "$exp/distilled"
        fi
        learn=(--data.train "$exp/distilled/train.jsonl.gz" --data.dev "$exp/distilled/dev.jsonl.gz"
            --durations "$exp/distilled/durations.npz" --mels "$exp/distilled/mels.npz"
            --model.pitch false --model.energy false)
    elif grep -q "pitch: true" "$conf"; then
        if run_stage 3 "pitch and energy of each phoneme"; then
            python -m recipes.measure_prosody --config "$conf" "${data[@]}" "${phones[@]}" --durations "$aligned" \
                --out "$exp/prosody"
        fi
        prosody=(--pitch "$exp/prosody/pitch.npz" --energy "$exp/prosody/energy.npz")
    fi

    if run_stage 4 "FastSpeech"; then
        python -m recipes.train_fastspeech --config "$conf" "${learn[@]}" "${phones[@]}" \
            ${prosody[@]+"${prosody[@]}"} --train.out "$run" ${rest[@]+"${rest[@]}"}
    fi

    if [ "$vocoder" = yes ] && run_stage 5 "vocoder, finished on the mels of this voice"; then
        python -m recipes.train_vocoder --config "$conf" "${data[@]}" --train.out "$exp/vocoder"
        python -m recipes.predict_mels "$run/voice" --train data/train.jsonl.gz --dev data/dev.jsonl.gz \
            --durations "$aligned" ${prosody[@]+"${prosody[@]}"} --out "$run/mels.npz"
        python -m recipes.train_vocoder --config "$conf" --config "${conf%.yaml}-finishing.yaml" "${data[@]}" \
            --data.mels "$run/mels.npz" --init "$exp/vocoder/model" --train.out "$run/vocoder"
        rm -rf "$run/voice/vocoder"
        cp -r "$run/vocoder/model" "$run/voice/vocoder"
    fi

    if run_stage 6 "evaluate on the test set ($run/report/index.html)"; then
        python -m recipes.evaluate_tts "$run/voice" --manifest data/test.jsonl.gz --aligner-durations "$aligned" \
            ${recognizer:+--recognizer "$recognizer"} ${sentences:+--sentences "$sentences"} --out "$run/report"
    fi

    if [ -n "$text" ] && run_stage 7 "speak"; then
        speech synthesize -m "$run/voice" -f "$run/spoken.wav" -- "$text"
    fi
    took "report: $run/report/index.html"
}
