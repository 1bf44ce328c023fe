#!/usr/bin/env bash
# Runs the static binary where there is nothing else: a root file system with this one file and an empty /tmp, no network but loopback,
# no zones, no certificates, no names, no /proc, no shell, a user without a name. Needs root, python3, openssl, iproute2 and binutils.
#
#   packaging/test-static.sh [BINARY]   takes what packaging/static.sh made, or this one
#   BUILD=1 packaging/test-static.sh    runs packaging/static.sh first, in the root of packaging/musl-root.sh
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || { echo "must run as root: it makes namespaces" >&2; exit 1; }
work=$(realpath -m target/static-test)
root=$work/root
tls=$work/tls
step() { printf '\n== %s\n' "$*"; }
die() { echo "FAILED: $*" >&2; exit 1; }

# packaging/static.sh, unchanged, in the root that has a library for musl; the sources are read-only there, target/ is a folder of its own.
build() {
  packaging/musl-root.sh
  mkdir -p "$work/target" "$work/cargo"
  unshare --mount bash -euc '
    root=$1 work=$2
    mkdir -p "$root/build" "$root/cargo"
    mount --bind . "$root/build"
    mount -o remount,ro,bind "$root/build"
    mount --bind "$work/target" "$root/build/target"
    mount --bind "$work/cargo" "$root/cargo"
    mount -t proc proc "$root/proc"
    exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CARGO_HOME=/cargo /build/packaging/static.sh
  ' build "$(realpath target/musl-root)" "$work"
  binary=$work/target/x86_64-unknown-linux-musl/release/reconciled
}

# A provider behind TLS, by an authority of our own: a terminator before the program's own sandbox, on a port for each of two certificates.
certificates() {
  rm -rf "$tls"
  mkdir -p "$tls"
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=test authority" -keyout "$tls/ca.key" -out "$tls/ca.pem" 2>/dev/null
  openssl req -newkey rsa:2048 -nodes -subj "/CN=provider" -keyout "$tls/provider.key" -out "$tls/provider.csr" 2>/dev/null
  printf 'subjectAltName=DNS:provider.test,DNS:localhost\nextendedKeyUsage=serverAuth\n' > "$tls/names"
  openssl x509 -req -days 2 -in "$tls/provider.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -CAcreateserial -extfile "$tls/names" \
    -out "$tls/provider.pem" 2>/dev/null
  cat > "$tls/terminator.py" <<'PYTHON'
import asyncio, ssl, sys
async def copy(source, sink):
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass
    sink.close()
async def serve(reader, writer):
    there, back = await asyncio.open_connection("127.0.0.1", 18101)
    await asyncio.gather(copy(reader, back), copy(there, writer))
# A page of brackets, a million deep, for whatever is asked.
async def deep(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    body = b"{\"data\":" + b"[" * 1000000 + b"]" * 1000000 + b"}"
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: BEARER_TOKEN=made.up; Path=/\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    writer.close()
async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[1] + "/provider.pem", sys.argv[1] + "/provider.key")
    await asyncio.start_server(serve, "127.0.0.1", 18443, ssl=context)
    await asyncio.start_server(deep, "127.0.0.1", 18444)
    await asyncio.Event().wait()
asyncio.run(main())
PYTHON
}

# The program as user 10001 in the empty root, in the place of this shell; words before -- are its environment.
become() {
  local environment=()
  while [ "$1" != -- ]; do environment+=("$1"); shift; done
  shift
  exec env -i "${environment[@]}" "$(command -v chroot)" --userspec=10001:10001 "$root" /usr/bin/reconciled "$@"
}
alone() { (become "$@"); }
# $1: exit code wanted, $2: words wanted in what it says, the rest as for become.
expect() {
  local wanted=$1 words=$2 code=0
  shift 2
  alone "$@" > "$work/said" 2>&1 || code=$?
  [ "$code" = "$wanted" ] && grep -qF -e "$words" "$work/said" || { tail -20 "$work/said" >&2; die "$*: exit code $code, wanted $wanted with: $words"; }
  grep -m1 -F -e "$words" "$work/said"
}
waits_for() { for _ in $(seq 100); do eval "$1" && return 0; sleep 0.1; done; die "$1"; }

# A job of TuPay's at a base URL, two days long, for what follows.
site() {
  rm -rf "$root/tmp/site"
  expect 0 'reconciled.toml' -- init /tmp/site --provider tupay >/dev/null
  mkdir -p "$root/tmp/site/ledger" "$root/tmp/credentials"
  cp "$root"/tmp/site/ledger-examples/*.csv "$root/tmp/site/ledger/"
  printf recon@merchant.example > "$root/tmp/credentials/tupay-access-key"
  printf tupay-sandbox-password > "$root/tmp/credentials/tupay-secret-key"
  sed -i -e "s|^# base_url.*|base_url = \"$1\"|" -e "s|^start = .*|start = $(date -u -d '3 days ago' +%F)|" \
    -e 's|^# lookback_days = 60|lookback_days = 1|' "$root/tmp/site/jobs/tupay-pe.toml"
  # A retry that would wait for better times has none here.
  sed -i -e "s|^\[http\]|[http]\nretry_budget_s = 5\n${2:-}|" "$root/tmp/site/reconciled.toml"
  chown -R 10001:10001 "$root/tmp"
  chmod -R go= "$root/tmp/credentials" "$root/tmp/site"
}
secrets=CREDENTIALS_DIRECTORY=/tmp/credentials
config=(--config /tmp/site/reconciled.toml)

inside() {
  mount --make-rprivate /
  ip link set lo up
  rm -rf "$root"
  mkdir -p "$root/usr/bin" "$root/tmp"
  chmod 1777 "$root/tmp"
  install -m 755 "$binary" "$root/usr/bin/reconciled"

  step "it starts where there is nothing"
  expect 0 reconciled -- --version
  step "the demo: TLS library, SQLite, compression, mails, workbooks, zones of its own"
  expect 0 'all were found, and nothing else' -- demo --dir /tmp/demo
  rm -rf "$root/tmp/demo"

  become -- sandbox --port 18100 > "$work/sandbox.log" 2>&1 &
  python3 "$tls/terminator.py" "$tls" > "$work/terminator.log" 2>&1 &
  waits_for 'ss -ltn | grep -q :18101 && ss -ltn | grep -q :18443'

  step "a job without names and certificates, settings in a zone of its own"
  site http://127.0.0.1:18101
  expect 0 'America/Lima' "$secrets" -- "${config[@]}" check --online
  expect 0 'windows sealed' "$secrets" -- "${config[@]}" run
  [ -n "$(find "$root/tmp/site/mail" -name '*.eml')" ] || die "no mail"
  expect 0 'late' "$secrets" -- "${config[@]}" status --json

  step "names by /etc/hosts, an authority by [http] ca_file"
  mkdir "$root/etc"
  echo '127.0.0.1 localhost provider.test' > "$root/etc/hosts"
  site https://provider.test:18443 'ca_file = "/ca.pem"'
  install -m 644 "$tls/ca.pem" "$root/ca.pem"
  expect 0 'America/Lima' "$secrets" -- "${config[@]}" check --online
  expect 0 'windows sealed' "$secrets" -- "${config[@]}" run
  step "an authority by SSL_CERT_FILE; without it the provider is not spoken to"
  site https://localhost:18443
  expect 0 'America/Lima' "$secrets" SSL_CERT_FILE=/ca.pem -- "${config[@]}" check --online
  expect 78 'check that the system has CA certificates' "$secrets" -- "${config[@]}" check --online
  step "a name that is nowhere"
  site https://nowhere.test:18443 'ca_file = "/ca.pem"'
  expect 69 'name could not be resolved' "$secrets" -- "${config[@]}" check --online
  step "a page a million brackets deep is put aside as unreadable, not died of (stacks of threads)"
  site http://127.0.0.1:18444
  expect 65 'rows could not be read exactly' "$secrets" -- "${config[@]}" run

  step "serve: up, told to end, ended"
  site http://127.0.0.1:18101
  sed -i 's|^# schedule = .*|schedule = "0 30 2 1 1 *"|' "$root/tmp/site/jobs/tupay-pe.toml"
  become "$secrets" -- "${config[@]}" serve > "$work/serve.log" 2>&1 &
  local serve=$!
  waits_for '[ -e "$root/tmp/site/reconciled.db" ]'
  sleep 1
  kill -TERM "$serve"
  local code=0
  wait "$serve" || code=$?
  [ "$code" = 0 ] || { cat "$work/serve.log" >&2; die "serve ended with $code"; }

  step "all of it held"
}

if [ "${1:-}" = inside ]; then
  binary=$2
  inside
  exit
fi
binary=${1:-target/x86_64-unknown-linux-musl/release/reconciled}
[ -z "${BUILD:-}" ] || build
[ -f "$binary" ] || die "there is no $binary: packaging/static.sh makes it, or BUILD=1"
mkdir -p "$work"
step "no shared library, no interpreter"
readelf --dynamic "$binary" | grep NEEDED && die "it wants shared libraries"
readelf --program-headers "$binary" | grep INTERP && die "it wants an interpreter"
ls -l "$binary"
certificates
exec unshare --mount-proc --pid --fork --net --kill-child "$0" inside "$(realpath "$binary")"
