#!/usr/bin/env bash
# Builds target/debian/reconciled_<version>_<architecture>.deb. Needs cargo-deb (cargo install --locked cargo-deb).
# The same sources and SOURCE_DATE_EPOCH give the same package. VERSION=0.1.1-1 names another version (tests of upgrades);
# NO_BUILD=1 takes target/release/reconciled as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo-deb >/dev/null || { echo "cargo-deb is missing: cargo install --locked cargo-deb" >&2; exit 1; }
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
  # The time of the last change, not of the build.
  SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.lock)
fi
export SOURCE_DATE_EPOCH

[ -n "${NO_BUILD:-}" ] || cargo build --release --locked
target=target/package
rm -rf "$target"
mkdir -p "$target/man" "$target/completions"
target/release/reconciled man --dir "$target/man"
target/release/reconciled completions bash > "$target/completions/reconciled.bash"
target/release/reconciled completions zsh > "$target/completions/_reconciled"
target/release/reconciled completions fish > "$target/completions/reconciled.fish"
packaging/sbom.py > "$target/reconciled.cdx.json"

# The changelog in Debian's form, from the first section of CHANGELOG.md.
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)-1}
{
  printf 'reconciled (%s) stable; urgency=medium\n\n' "$version"
  sed -n '/^## /,$p' CHANGELOG.md | sed -e '1d' -e '/^## /,$d' -e '/^$/d' -e 's/^\* /  * /' -e 's/^  \([^*]\)/    \1/' | fold -s -w 78 | sed -e 's/^\([^ ]\)/    \1/'
  printf '\n -- The reconciled authors <recon@example.com>  %s\n' "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
} > "$target/changelog"

cargo deb --no-build --locked --deb-version "$version"
