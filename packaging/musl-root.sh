#!/usr/bin/env bash
# Makes a Debian root file system in which packaging/static.sh runs as it is, where rustup's Rust library for musl is out of reach: the
# root has Debian's own Rust with its sources, and gets the library for x86_64-unknown-linux-musl built from these, in the place where
# rustup would put it. For the tests of the static binary and of the image (packaging/test-static.sh, packaging/test-image.sh), which
# find it in target/musl-root. Needs root, debootstrap, a Debian mirror, and the registry of crates for what Rust's library is made of.
#
# Its Rust is Debian's (newer than the toolchain of the Dockerfile), its musl Debian's: a binary made here shows that the program and the
# recipe work with musl; it is not byte for byte what rustup's toolchain gives.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || { echo "must run as root: it makes a root file system" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "debootstrap is missing: apt-get install debootstrap" >&2; exit 1; }
root=$(realpath -m target/musl-root)
[ ! -e "$root" ] || exit 0
half=$root.half
rm -rf --one-file-system "$half"
mkdir -p "$half"

# A release with Rust 1.95 or newer. debootstrap may be older than the release's name: the script is the same for all of them.
debootstrap --variant=minbase --include=ca-certificates "${RELEASE:-forky}" "$half" "${DEBIAN_MIRROR:-}" /usr/share/debootstrap/scripts/sid
umount "$half/proc" 2>/dev/null || true
# A mirror that lags behind is good enough for a test; and behind a proxy of one's own, the authorities of this machine are those to trust.
echo 'Acquire::Check-Valid-Until "false";' > "$half/etc/apt/apt.conf.d/90test"
cat /etc/ssl/certs/ca-certificates.crt > "$half/etc/ssl/certs/ca-certificates.crt"

cat > "$half/root/library.sh" <<'INSIDE'
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends rustc cargo rust-src musl-tools gcc libc6-dev binutils libunwind-22-dev
target=x86_64-unknown-linux-musl
there=$(rustc --print sysroot)/lib/rustlib/$target/lib
mkdir -p /root/library/src "$there/self-contained"

# What rustup's library brings beside itself: musl, the compiler's start and end files, an unwinder. Debian's unwinder is LLVM's, compiled
# against glibc; of glibc alone it wants two checked forms of printing (messages before it gives up), which musl does not have.
cd /root/library
cat > checked.c <<'C'
#include <stdarg.h>
#include <stdio.h>
int __vfprintf_chk(FILE *to, int flag, const char *format, va_list list) { return vfprintf(to, format, list); }
int __vsnprintf_chk(char *to, size_t size, int flag, size_t room, const char *format, va_list list) { return vsnprintf(to, size, format, list); }
C
musl-gcc -O2 -c checked.c
cp /usr/lib/llvm-22/lib/libunwind.a "$there/self-contained/"
ar r "$there/self-contained/libunwind.a" checked.o
cp /usr/lib/x86_64-linux-musl/{crt1.o,rcrt1.o,Scrt1.o,crti.o,crtn.o,libc.a} "$there/self-contained/"
for file in crtbegin.o crtbeginS.o crtend.o crtendS.o; do cp "$(gcc -print-file-name=$file)" "$there/self-contained/"; done

# The library itself, as rustup's is built: for speed, with the code that link-time optimization wants beside the machine's.
cat > Cargo.toml <<'MANIFEST'
[package]
name = "library"
version = "0.0.0"
edition = "2024"
MANIFEST
touch src/lib.rs
RUSTC_BOOTSTRAP=1 RUSTFLAGS="-C embed-bitcode=yes" \
  cargo build --release -Zbuild-std=std,panic_unwind --target $target
rm target/$target/release/deps/liblibrary-*
cp target/$target/release/deps/*.rlib "$there/"

# It is whole: a panic unwinds through threads of a static program, and is caught.
cat > panic.rs <<'RUST'
fn main() {
    let caught = std::thread::spawn(|| std::panic::catch_unwind(|| panic!("on purpose")).is_err());
    let passed_on = std::thread::spawn(|| { panic!("on purpose, too") });
    assert!(caught.join().unwrap() && passed_on.join().is_err());
    println!("panics are caught");
}
RUST
rustc -O --target $target panic.rs
[ "$(./panic 2>/dev/null)" = "panics are caught" ]
rm -rf /root/library /root/.cargo /var/cache/apt/archives/*.deb
INSIDE
mount -t proc proc "$half/proc"
trap 'umount "$half/proc" 2>/dev/null || true' EXIT
chroot "$half" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root bash /root/library.sh
umount "$half/proc"
rm "$half/root/library.sh"
mv "$half" "$root"
