#!/usr/bin/env bash
# Builds the image by the Dockerfile as it is, and runs it in containers: not root, read-only root file system, as docs/install.md says.
# Needs root, buildah, podman, crun and conmon; no service of theirs has to run.
#
# FROM_REGISTRY=1 takes the base image from its registry. Otherwise (no registry, no rustup there) a local image takes its name, made of the
# root of packaging/musl-root.sh: Debian's Rust instead of rustup's, and a `rustup` that says that the library for musl is there, as it is.
# Its storage is in target/image-test, so that nothing of that name stays on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || { echo "must run as root: it builds and runs images" >&2; exit 1; }
for tool in buildah podman crun conmon; do
  command -v $tool >/dev/null || { echo "$tool is missing: apt-get install buildah podman crun conmon" >&2; exit 1; }
done
work=$(realpath -m target/image-test)
storage=(--root "$work/storage" --runroot "$work/run")
base=$(sed -n 's/^FROM \(.*\) AS build$/\1/p' Dockerfile)
step() { printf '\n== %s\n' "$*"; }
die() { echo "FAILED: $*" >&2; exit 1; }

base_image() {
  buildah "${storage[@]}" inspect --type image "$base" >/dev/null 2>&1 && return
  packaging/musl-root.sh
  local container at
  container=$(buildah "${storage[@]}" from scratch)
  at=$(buildah "${storage[@]}" mount "$container")
  cp -a target/musl-root/. "$at/"
  rm -rf "$at/build" "$at/cargo"
  cat > "$at/usr/bin/rustup" <<'RUSTUP'
#!/bin/sh
# In the place of rustup, which this root does not have: its library for musl was built from source.
[ "$*" = "target add x86_64-unknown-linux-musl" ] && test -d "$(rustc --print target-libdir --target x86_64-unknown-linux-musl)"
RUSTUP
  chmod 755 "$at/usr/bin/rustup"
  buildah "${storage[@]}" umount "$container" >/dev/null
  buildah "${storage[@]}" config --env PATH=/usr/sbin:/usr/bin:/sbin:/bin --env HOME=/root --env CARGO_HOME=/cargo "$container"
  buildah "${storage[@]}" commit --quiet --rm "$container" "$base"
}

# Containers without an engine's service: no healthcheck timers, no cgroup controllers, the limits that this machine gives.
in_container() { # words before -- are podman's
  local options=()
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  podman "${storage[@]}" --cgroup-manager=cgroupfs run --cgroups=disabled --pids-limit=0 --network=host \
    --ulimit=nofile=1024:1024 --ulimit=nproc=1024:1024 --read-only --tmpfs /tmp -v "$work/data:/data" "${options[@]}" reconciled "$@"
}
expect() { # exit code, words, the rest as for in_container
  local wanted=$1 words=$2 code=0
  shift 2
  in_container --rm "$@" > "$work/said" 2>&1 || code=$?
  [ "$code" = "$wanted" ] && grep -qF -e "$words" "$work/said" || { tail -20 "$work/said" >&2; die "$*: exit code $code, wanted $wanted with: $words"; }
  grep -m1 -F -e "$words" "$work/said"
}
of_container() { podman "${storage[@]}" --cgroup-manager=cgroupfs "$@"; }

inside() {
  export DISABLE_HC_SYSTEMD=true
  mount --make-rprivate /
  umount -R -l /sys/fs/cgroup
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  ip link set lo up
  rm -rf "$work/data" "$work/secrets"
  install -d -o 10001 -g 10001 "$work/data" "$work/secrets"
  local secrets=(-v "$work/secrets:/run/secrets:ro" -e CREDENTIALS_DIRECTORY=/run/secrets)

  step "the image holds the program, certificates and two empty folders"
  local container at
  container=$(buildah "${storage[@]}" from reconciled)
  at=$(buildah "${storage[@]}" mount "$container")
  (cd "$at" && find . -mindepth 1 \( -type f -o -empty \) -printf '%M %U %p\n')
  [ "$(cd "$at" && find . -type f | sort | tr '\n' ' ')" = "./etc/ssl/certs/ca-certificates.crt ./usr/bin/reconciled " ] || die "other files are in the image"
  cp "$at/usr/bin/reconciled" "$work/reconciled"
  buildah "${storage[@]}" rm "$container" >/dev/null
  "$work/reconciled" sandbox --port 18100 > "$work/sandbox.log" 2>&1 &

  step "version, demo"
  expect 0 reconciled -- --version
  expect 0 'all were found, and nothing else' -- demo --dir /tmp/demo
  step "init, check, run, status"
  expect 0 reconciled.toml -- init /data --provider tupay
  local job=$work/data/jobs/tupay-pe.toml
  install -d -o 10001 -g 10001 "$work/data/ledger"
  install -o 10001 -g 10001 -m 600 "$work"/data/ledger-examples/*.csv "$work/data/ledger/"
  sed -i -e 's|^# base_url.*|base_url = "http://127.0.0.1:18101"|' -e "s|^start = .*|start = $(date -u -d '3 days ago' +%F)|" \
    -e 's|^# lookback_days = 60|lookback_days = 1|' -e 's|^# schedule = .*|schedule = "0 30 2 1 1 *"|' "$job"
  printf recon@merchant.example > "$work/secrets/tupay-access-key"
  printf tupay-sandbox-password > "$work/secrets/tupay-secret-key"
  chown 10001:10001 "$work"/secrets/*
  chmod 600 "$work"/secrets/*
  expect 0 'America/Lima' "${secrets[@]}" -- check --online
  expect 0 'windows sealed' "${secrets[@]}" -- run
  [ -n "$(find "$work/data/mail" -name '*.eml')" ] || die "no mail"
  expect 0 '"ok"' -- status --json
  [ -z "$(find "$work/data" ! -user 10001)" ] || die "files of another user"

  step "serve: healthy by its HEALTHCHECK, ended by SIGTERM with 0"
  in_container --detach --name serve "${secrets[@]}" -- serve >/dev/null
  sleep 2
  of_container healthcheck run serve || die "not healthy"
  of_container inspect serve --format '{{.State.Health.Status}}'
  of_container exec serve /usr/bin/reconciled --config /data/reconciled.toml status --exit-code | grep 'outbox:'
  of_container stop --time 20 serve >/dev/null
  [ "$(of_container inspect serve --format '{{.State.ExitCode}}')" = 0 ] || { of_container logs serve >&2; die "serve did not end with 0"; }
  of_container rm serve >/dev/null

  step "broken settings are not healthy"
  in_container --detach --name serve "${secrets[@]}" -- serve >/dev/null
  sleep 2
  echo 'nonsense' >> "$job"
  of_container healthcheck run serve && die "broken settings were called healthy"
  of_container rm --force --time 5 serve >/dev/null

  step "all of it held"
}

if [ "${1:-}" = inside ]; then
  trap 'podman "${storage[@]}" --cgroup-manager=cgroupfs rm --all --force --time 1 >/dev/null 2>&1 || true' EXIT
  inside
  exit
fi
mkdir -p "$work"
pull=--pull
if [ -z "${FROM_REGISTRY:-}" ]; then
  step "a base image under the name $base"
  base_image
  pull=--pull-never
fi
step "the Dockerfile, as it is"
# What was compiled is kept between runs of this test, beside the image's build.
mkdir -p "$work/target" "$work/cargo"
buildah "${storage[@]}" bud $pull --isolation chroot --format docker --volume "$work/target:/src/target" --volume "$work/cargo:/cargo" \
  --tag reconciled .
buildah "${storage[@]}" images --format '{{.Name}} {{.Size}}' localhost/reconciled
exec unshare --mount-proc --pid --fork --net --kill-child "$0" inside
