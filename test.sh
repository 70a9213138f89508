#!/usr/bin/env bash
# Runs every test of the project: ./test.sh [root] [judge] [firmware] [no_std], all of them if none is
# named. MILLSTREAM_SKIP_FIRMWARE=1 leaves out the emulated device.
# Installs what it needs with apt-get if it runs as root, or says what to install. A part that fails
# does not stop the others; the exit code is 0 only if nothing failed.
set -u -o pipefail
cd "$(dirname "$0")" || exit 1
export CARGO_TERM_COLOR=never

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
passed=0
failed=0
closing=()

# step NAME FOLDER COMMAND..: runs a command and keeps its summary lines.
step() {
    local name=$1 folder=$2 log sum_passed sum_failed status
    shift 2
    log="$logs/step"
    printf '\n=== %s: %s\n' "$name" "$*"
    (cd "$folder" && "$@") 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    while IFS= read -r line; do closing+=("$name: $line"); done < <(grep '^test result:' "$log")
    # A runner's own counts; a step without a runner counts as one.
    sum_passed=$(sed -n 's/^test result:.* \([0-9]*\) passed;.*/\1/p' "$log" | paste -sd+ - | sed 's/^$/0/')
    sum_failed=$(sed -n 's/^test result:.* \([0-9]*\) failed;.*/\1/p' "$log" | paste -sd+ - | sed 's/^$/0/')
    sum_passed=$((sum_passed))
    sum_failed=$((sum_failed))
    if [ "$status" -eq 0 ]; then
        [ $((sum_passed + sum_failed)) -gt 0 ] || { sum_passed=1; closing+=("$name: ok"); }
    else
        [ "$sum_failed" -gt 0 ] || sum_failed=1
        closing+=("$name: FAILED with exit code $status")
    fi
    passed=$((passed + sum_passed))
    failed=$((failed + sum_failed))
}

# refuses NAME FOLDER TEXT COMMAND..: a command that has to fail, and to say TEXT.
refuses() {
    local name=$1 folder=$2 text=$3
    shift 3
    printf '\n=== %s: %s\n' "$name" "$*"
    if (cd "$folder" && "$@") >"$logs/refused" 2>&1; then
        cat "$logs/refused"
        closing+=("$name: FAILED, it did not fail")
        failed=$((failed + 1))
    elif grep -q "$text" "$logs/refused"; then
        closing+=("$name: ok, it fails as it has to")
        passed=$((passed + 1))
    else
        cat "$logs/refused"
        closing+=("$name: FAILED for another reason than: $text")
        failed=$((failed + 1))
    fi
}

# missing PACKAGE..: installs Debian packages, or says which are missing.
missing() {
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        printf '\n=== apt-get install %s\n' "$*"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" && return 0
    fi
    closing+=("missing packages: FAILED; install them with: apt-get install -y $*")
    failed=$((failed + 1))
    return 1
}

# A C and C++ compiler: libsecp256k1, SQLite and the script interpreter are built from source.
need_compiler() {
    command -v cc >/dev/null && command -v c++ >/dev/null || missing build-essential
}

need_cargo() {
    command -v cargo >/dev/null && return 0
    closing+=("cargo: FAILED; install Rust 1.90 or later from https://rustup.rs")
    failed=$((failed + 1))
    return 1
}

# need_component NAME: clippy or rustfmt, by rustup where that is there.
need_component() {
    local tool=$1
    [ "$tool" = rustfmt ] && tool=fmt
    cargo "$tool" --version >/dev/null 2>&1 && return 0
    command -v rustup >/dev/null && rustup component add "$1" && return 0
    closing+=("$1: FAILED; install it with: rustup component add $1")
    failed=$((failed + 1))
    return 1
}

part_root() {
    need_component rustfmt && step "root fmt" . cargo fmt --check
    need_component clippy &&
        step "root clippy" . cargo clippy --all-targets --all-features -- -D warnings
    RUSTDOCFLAGS="-D warnings" step "root doc" . cargo doc --no-deps --all-features
    step "root tests" . cargo test --all-features --no-fail-fast
}

part_judge() {
    local packages=()
    command -v cmake >/dev/null || packages+=(cmake)
    command -v g++ >/dev/null || packages+=(g++)
    [ -e /usr/include/boost/version.hpp ] || packages+=(libboost-dev)
    [ ${#packages[@]} -eq 0 ] || missing "${packages[@]}" || return
    step "judge tests" tests/judge cargo test --no-fail-fast
}

part_firmware() {
    if [ "${MILLSTREAM_SKIP_FIRMWARE:-}" = 1 ]; then
        closing+=("firmware: SKIPPED, BECAUSE MILLSTREAM_SKIP_FIRMWARE IS 1")
        return
    fi
    step "firmware" examples/firmware ./run.sh
}

part_no_std() {
    step "no_std, no feature" tests/no_std cargo run
    step "no_std, alloc" tests/no_std cargo run --features alloc
    refuses "no_std, with std" tests/no_std "lang item .*panic_impl" cargo check --features must_fail
}

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(root judge firmware no_std)
for part in "${parts[@]}"; do
    case $part in
    root | judge | firmware | no_std) ;;
    *)
        echo "unknown part $part; the parts are: root judge firmware no_std" >&2
        exit 2
        ;;
    esac
done
if need_cargo && need_compiler; then
    for part in "${parts[@]}"; do "part_$part"; done
fi

printf '\n=== summary of %s\n' "${parts[*]}"
[ ${#closing[@]} -eq 0 ] || printf '%s\n' "${closing[@]}"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
