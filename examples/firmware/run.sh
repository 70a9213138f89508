#!/usr/bin/env bash
# Builds the images, runs them in the emulator, and holds them to their ceilings.
#
# Installs what it needs with apt-get if it runs as root, or says what to install. The compiler is
# Debian's, with its own sources of the library: both are one release, whatever cargo comes from.
# `measured.txt` has a ceiling and a committed number for each thing that is measured: the first
# counts always; under the compilers that it names the second is compared too. Half a percent more or
# less fails the run, anything less is shown, and fails it with MILLSTREAM_EXACT=1. Where the ceiling
# is above what was wanted, that stands behind it. MILLSTREAM_BLESS=1 commits what is measured now.
set -u -o pipefail
cd "$(dirname "$0")" || exit 1
export CARGO_TERM_COLOR=never
committed=measured.txt
cortex=thumbv7em-none-eabihf
riscv=riscv32imc-unknown-none-elf

fail() {
    echo "test result: FAILED. 0 passed; 1 failed; $*"
    exit 1
}

need() {
    local packages=()
    [ -x /usr/bin/rustc ] && /usr/bin/rustc -V | grep -q 'rustc 1\.\(9[0-9]\|[1-9][0-9][0-9]\)' ||
        packages+=(rustc-web)
    [ -e /usr/lib/rustlib/src/rust/library/core ] || packages+=(rustc-web rust-web-src)
    command -v arm-none-eabi-gcc >/dev/null || packages+=(gcc-arm-none-eabi)
    command -v cc >/dev/null || packages+=(gcc libc6-dev)
    command -v qemu-system-arm >/dev/null || packages+=(qemu-system-arm)
    command -v qemu-system-riscv32 >/dev/null || packages+=(qemu-system-misc)
    command -v riscv64-unknown-elf-ld >/dev/null || packages+=(binutils-riscv64-unknown-elf)
    [ ${#packages[@]} -eq 0 ] && return
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "apt-get install ${packages[*]}"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "${packages[@]}" && return
    fi
    fail "missing packages; install them with: apt-get install -y ${packages[*]}"
}

# The device's cargo.
device() { RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 cargo "$@"; }

# flash ELF, ram ELF: bytes of the sections.
flash() { arm-none-eabi-size -A "$1" | awk '$1 == ".text" || $1 == ".data" { sum += $2 } END { print sum }'; }
ram() { arm-none-eabi-size -A "$1" | awk '$1 == ".bss" || $1 == ".data" { sum += $2 } END { print sum }'; }

# most NAME: the largest that the last image reported under this name.
most() { awk -F ': ' -v name="$1" '$1 == name && $2 > most { most = $2 } END { print most + 0 }' "$out/log"; }

measure() { printf '%s|%s\n' "$1" "$2" >>"$out/measured"; }

# mine TARGET NAME LEVEL FEATURE..: builds and runs the miner, and measures it without the empty
# image. LEVEL: "s" is smaller than 2 and faster than "z", and 2 is what the fast kernel wants.
mine() {
    local target=$1 name=$2 level=$3 elf=target/$1/release/mine
    shift 3
    device build --release --target "$target" -p mine "$@" \
        --config 'profile.release.package.millstream.opt-level='"$level" || fail "$name was not built"
    device run -q --release --target "$target" -p mine "$@" \
        --config 'profile.release.package.millstream.opt-level='"$level" >"$out/log" 2>&1 ||
        { cat "$out/log"; fail "$name did not find the first block"; }
    measure "$name: instructions a nonce" "$(most instructions)"
    measure "$name: flash above the empty image" $(($(flash "$elf") - empty_flash))
    measure "$name: RAM above the empty image" $(($(ram "$elf") + $(most stack) - empty_ram))
}

empty() {
    device build --release --target "$1" -p empty || fail "the empty image was not built"
    device run -q --release --target "$1" -p empty >"$out/log" 2>&1 || fail "the empty image"
    empty_flash=$(flash "target/$1/release/empty")
    empty_ram=$(($(ram "target/$1/release/empty") + $(most stack)))
    measure "empty on $2: flash" "$empty_flash"
    measure "empty on $2: RAM" "$empty_ram"
}

# What stands for parts of libsecp256k1 on a device, held against them on this machine.
curve() {
    local library
    library=$(device metadata --format-version 1 --locked | tr ',' '\n' |
        sed -n 's/^"manifest_path":"\(.*secp256k1-sys-[^"]*\)\/Cargo.toml".*/\1/p' | head -1)
    [ -n "$library" ] || fail "the sources of libsecp256k1 were not found"
    library=$library/depend/secp256k1
    cc -std=c11 -O1 -Wall -Wno-unused-function -include stdio.h -DSECP256K1_API= -DVERIFY \
        -DUSE_FORCE_WIDEMUL_INT64 -DECMULT_WINDOW_SIZE=4 -DECMULT_GEN_PREC_BITS=2 \
        -Icurve -I"$library" -I"$library/include" -I"$library/src" \
        curve/check.c "$library/src/precomputed_ecmult.c" -o "$out/curve" ||
        fail "curve/check.c was not built"
    "$out/curve" || fail "curve/device.h does not do what the library does"
}

endpoint() {
    local elf=$PWD/target/$cortex/release/endpoint
    device build --release -p endpoint || fail "the endpoint was not built"
    # From the root: the configuration of this folder is the device's.
    (cd ../.. && cargo run -q --manifest-path examples/firmware/Cargo.toml -p host -- "$out/flash" \
        qemu-system-arm -M mps2-an386 -display none -monitor none -serial stdio -icount shift=5 \
        -semihosting-config enable=on,target=native -kernel "$elf") >"$out/log" 2>&1
    local status=$?
    grep -E '^(first|again): ' "$out/log"
    [ $status -eq 0 ] || { cat "$out/log"; fail "the endpoint and the host did not come to terms"; }
    measure "endpoint: a voucher signed" "$(most sign)"
    measure "endpoint: a voucher accepted" "$(most accept)"
    measure "endpoint: an equal tick" "$(most 'equal tick')"
    measure "endpoint: a tick after a payment" "$(most 'first tick')"
    measure "endpoint: a claim checked" "$(most claim)"
    measure "endpoint: taken up from its backup" "$(most resume)"
    measure "endpoint: flash" "$(flash "$elf")"
    measure "endpoint: RAM with heap and stack" $(($(ram "$elf") + $(most stack)))
    measure "endpoint: heap in use" "$(most heap)"
}

# Every measured number against its ceiling and, under the same compilers, the committed one.
judge() {
    local exact=0
    [ "$(head -1 "$committed")" = "$compilers" ] && exact=1
    awk -F '|' -v exact=$exact -v strict="${MILLSTREAM_EXACT:-0}" '
        function off(now, then, by) { return now > then + by || now < then - by }
        # A tick of the timer is 1.25 instructions, and a step begins anywhere in one.
        function drift(now, then) {
            if (!off(now, then, 4)) return ""
            return strict == 1 || off(now, then, then / 200) ? "NOT AS COMMITTED" : "not as committed"
        }
        function say(row, verdict) {
            printf "%-44s %10s %10s %10s  %s\n", row, measured[row], ceiling[row], committed[row], verdict
        }
        NR == FNR { measured[$1] = $2; next }
        /^#/ || NF < 3 { next }
        !headed {
            printf "%-44s %10s %10s %10s\n", "", "measured", "ceiling", "committed"; headed = 1
        }
        {
            ceiling[$1] = $2; committed[$1] = $3
            verdict = $4 == "" ? "ok" : "ok, but wanted: " $4
            if (!($1 in measured)) verdict = "NOT MEASURED"
            else if (measured[$1] + 0 > $2 + 0) verdict = "ABOVE ITS CEILING"
            else if (exact && (moved = drift(measured[$1], $3)) != "") {
                verdict = moved ~ /^N/ ? moved : verdict ", " moved
            }
            if (verdict ~ /^ok/) passed++; else failed++
            say($1, verdict); delete measured[$1]
        }
        END {
            for (row in measured) { printf "%-44s %10s without a ceiling\n", row, measured[row]; failed++ }
            if (!exact) print "other compilers than those of the committed numbers: ceilings alone"
            printf "test result: %s. %d passed; %d failed; 0 ignored\n",
                failed ? "FAILED" : "ok", passed, failed
            exit failed > 0 || passed == 0
        }' "$out/measured" "$committed"
}

# Takes over the measured numbers, and leaves the ceilings.
bless() {
    awk -F '|' -v compilers="$compilers" '
        NR == FNR { measured[$1] = $2; next }
        FNR == 1 { print compilers; next }
        /^#/ || NF < 3 { print; next }
        { print $1 "|" $2 "|" measured[$1] ($4 == "" ? "" : "|" $4) }' "$out/measured" "$committed" >"$out/new" &&
        cp "$out/new" "$committed"
}

need
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
mkdir "$out/flash"
compilers="# $(/usr/bin/rustc -V) / gcc $(arm-none-eabi-gcc -dumpfullversion)"

empty $cortex "Cortex-M4"
mine $cortex "mine on Cortex-M4" '"s"'
mine $cortex "mine compact on Cortex-M4" '"s"' --features compact
mine $cortex "mine fast on Cortex-M4" 2 --features fast
curve
endpoint
empty $riscv "RV32IMC"
mine $riscv "mine on RV32IMC" '"s"'
# The smallest core, without compare-and-swap and without a division: the miner has to compile, and
# all rooms of the crate up to `node`, with both ends of the scene.
device check --release --target thumbv6m-none-eabi -p mine || fail "Cortex-M0, the miner"
device check --release --target thumbv6m-none-eabi -p scene || fail "Cortex-M0, the channel"
[ "${MILLSTREAM_BLESS:-}" = 1 ] && bless
judge
