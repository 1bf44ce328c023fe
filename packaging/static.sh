#!/usr/bin/env bash
# Builds one file that runs on any Linux on x86-64: target/x86_64-unknown-linux-musl/release/reconciled, linked with musl, no shared
# library, no NSS (names are asked of /etc/hosts and /etc/resolv.conf). Zones are in the program; certificates are the system's, or
# those of SSL_CERT_FILE, SSL_CERT_DIR or `[http] ca_file`.
set -euo pipefail
cd "$(dirname "$0")/.."

target=x86_64-unknown-linux-musl
command -v musl-gcc >/dev/null || { echo "musl-gcc is missing: apt-get install musl-tools" >&2; exit 1; }
if ! rustc --print target-libdir --target "$target" | xargs test -d; then
  echo "the Rust library for $target is missing: rustup target add $target" >&2
  echo "(a glibc binary with -C target-feature=+crt-static is no way out: it looks names up through shared libraries of the same glibc)" >&2
  exit 1
fi

# SQLite and zstd are C: musl's own compiler wrapper builds them.
export CC_x86_64_unknown_linux_musl=musl-gcc
cargo build --release --locked --target "$target"
binary=target/$target/release/reconciled
if readelf --dynamic "$binary" 2>/dev/null | grep -q NEEDED; then
  echo "$binary wants shared libraries:" >&2
  readelf --dynamic "$binary" | grep NEEDED >&2
  exit 1
fi
"$binary" --version
ls -l "$binary"
