#!/usr/bin/env bash
# Installs the package on a clean Debian root file system and lives through its life there: install, first mail under the real units,
# upgrade, remove, purge. systemd runs as init of its own namespaces (unshare, no container engine), so the units' sandbox is the real
# one. Needs root, debootstrap, cargo-deb and, the first time, a Debian mirror; the clean root is kept in target/package-test.
#
#   packaging/test-deb.sh            builds the package first
#   NO_BUILD=1 packaging/test-deb.sh takes target/release/reconciled as it is
#   packaging/test-deb.sh OLD NEW    takes two packages as they are
#
# Memory and CPU limits of the units are only enforced where the kernel's controllers are on cgroup v2; the script says which it saw.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || { echo "must run as root: it makes namespaces and a root file system" >&2; exit 1; }
for tool in debootstrap unshare nsenter dpkg-deb; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install debootstrap util-linux dpkg" >&2; exit 1; }
done

work=$(realpath -m target/package-test)
root=$work/root
mirror=${DEBIAN_MIRROR:-}
step() { printf '\n== %s\n' "$*"; }
die() { echo "FAILED: $*" >&2; exit 1; }
expect() { local said; said=$(eval "$1" 2>&1) || true; case "$said" in *"$2"*) ;; *) die "\`$1\` said: $said; expected: $2";; esac; }

# Builds the package under a version and prints its path, out of the way of the next one (cargo-deb keeps only one).
package() {
  local made
  made=$(VERSION=$1 NO_BUILD=${NO_BUILD:-} packaging/deb.sh 2>"$work/deb.log" | tail -1) || { cat "$work/deb.log" >&2; return 1; }
  cp "$made" "$work/$1.deb"
  echo "$work/$1.deb"
}

clean_root() {
  mkdir -p "$work"
  if [ ! -d "$work/clean" ]; then
    step "a clean Debian root (debootstrap)"
    rm -rf "$work/clean.half"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,ca-certificates bookworm "$work/clean.half" "$mirror" > "$work/debootstrap.log" 2>&1 \
      || { tail -5 "$work/debootstrap.log" >&2; die "debootstrap; is the mirror (DEBIAN_MIRROR, else its own) reachable?"; }
    umount "$work/clean.half/proc" 2>/dev/null || true
    mv "$work/clean.half" "$work/clean"
  fi
  rm -rf --one-file-system "$root"
  cp -a "$work/clean" "$root"
}

# Starts systemd as init of new namespaces with $root as its root file system, in a control group of its own, without network.
boot() {
  cat > "$work/boot.sh" <<'BOOT'
set -e
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for d in null zero full random urandom tty; do touch "$root/dev/$d"; mount --bind "/dev/$d" "$root/dev/$d"; done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"; ln -s /proc/self/fd "$root/dev/fd"
cd "$root"; mkdir -p .old; pivot_root . .old; umount -l /.old
# What systemd does itself outside of containers: the mounts of credentials reach the units only so.
mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=journal --unit=multi-user.target
BOOT
  mkdir -p "$work/cgroup"
  mountpoint -q "$work/cgroup" || mount -t cgroup2 none "$work/cgroup"
  mkdir -p "$work/cgroup/reconciled-test"
  ( echo $BASHPID > "$work/cgroup/reconciled-test/cgroup.procs"
    exec unshare --mount --pid --fork --uts --ipc --cgroup --net --kill-child bash "$work/boot.sh" "$root" > "$work/boot.log" 2>&1 ) &
  outer=$!
  for _ in $(seq 100); do
    init=$(cat "/proc/$outer/task/$outer/children" 2>/dev/null | tr -d ' ' || true)
    if [ -n "$init" ] && [ "$(cat "/proc/$init/comm" 2>/dev/null)" = systemd ]; then
      case "$(inside systemctl is-system-running 2>/dev/null)" in running|degraded) return 0;; esac
    fi
    sleep 0.2
  done
  cat "$work/boot.log" >&2
  die "systemd did not come up as init"
}
inside() { nsenter -t "$init" -m -p -u -i -C -n -r -w -- "$@"; }
as_user() { local user=$1; shift; inside runuser -u "$user" -- "$@"; }
shut() {
  [ -n "${outer:-}" ] || return 0
  kill -KILL "$outer" 2>/dev/null || true
  wait "$outer" 2>/dev/null || true
  outer=
  for _ in $(seq 50); do
    find "$work/cgroup/reconciled-test" -depth -type d -exec rmdir {} + 2>/dev/null && break
    sleep 0.1
  done
  umount "$work/cgroup" 2>/dev/null || true
}
trap shut EXIT

install_deb() { # $1: a package; inside the booted system
  cp "$1" "$root/var/cache/new.deb"
  inside dpkg --install /var/cache/new.deb
}

clean_root
if [ $# = 2 ]; then
  first=$1 second=$2
else
  step "packages of two versions"
  first=$(package 0.1.0-1)
  second=$(package 0.1.0-2)
fi
dpkg-deb --info "$first" | sed -n '/Package:/,$p' | head -12
if [ -z "${NO_LINTIAN:-}" ] && command -v lintian >/dev/null; then
  # embedded-library, not from Debian's archive: SQLite and zstd are built in on purpose.
  lintian --fail-on error --suppress-tags embedded-library,bad-distribution-in-changes-file "$first" || die "lintian (errors above)"
fi

boot
echo "control groups on v2: $(inside cat /sys/fs/cgroup/cgroup.controllers)"

step "install: user, groups, folders; nothing runs, nothing is enabled"
install_deb "$first"
expect 'inside id -nG reconciled' reconciled
expect 'inside getent group reconciled-analysts' reconciled-analysts
for want in "2750 root reconciled /etc/reconciled" "2750 root reconciled /etc/reconciled/jobs" "700 root root /etc/reconciled/credentials" \
  "750 reconciled reconciled /var/lib/reconciled" "2750 reconciled reconciled-analysts /var/lib/reconciled-shared"; do
  expect "inside stat -c '%a %U %G %n' ${want##* }" "$want"
done
expect 'inside systemctl is-active reconciled.service reconciled-run.timer reconciled-backup.timer' inactive
expect 'inside systemctl is-enabled reconciled.service' disabled
expect 'inside systemctl is-enabled reconciled-run.timer' disabled
[ -z "$(inside systemctl list-units --plain --no-legend --state=active 'reconciled*')" ] || die "something of ours runs"
inside bash -c 'systemd-analyze verify --man=no /usr/lib/systemd/system/reconciled*.service /usr/lib/systemd/system/reconciled*.timer'
for page in reconciled.1 reconciled-run.1 reconciled-init.1; do [ -f "$root/usr/share/man/man1/$page.gz" ] || die "no page $page"; done
[ -s "$root/usr/share/bash-completion/completions/reconciled" ] || die "no completions"

step "started without settings: it says what to do, and the alert unit is called"
inside systemctl start reconciled-run.service && die "a run without settings succeeded"
expect 'inside journalctl --no-pager -u reconciled-run.service' 'does not exist'
for _ in $(seq 100); do
  inside journalctl --no-pager -q -p crit -u 'reconciled-alert@*' | grep -q 'status 78' && break
  sleep 0.2
done
expect "inside journalctl --no-pager -p crit -u 'reconciled-alert@*'" 'reconciled-run.service failed (exit-code, status 78)'
inside systemctl reset-failed

step "init, a job, a ledger, the first mail"
inside reconciled init /etc/reconciled --provider file --provider tupay | head -5
expect "inside stat -c '%a %U %G' /etc/reconciled/reconciled.toml" "640 root reconciled"
expect "inside stat -c '%a %U %G' /etc/reconciled/jobs/bank-file.toml" "640 root reconciled"
as_user reconciled cp /etc/reconciled/ledger-examples/bank-file.csv /var/lib/reconciled/ledger/
inside mkdir -p /var/lib/reconciled/bank
inside cp /etc/reconciled/ledger-examples/bank-file.csv /var/lib/reconciled/bank/statement-2026.csv
inside chown -R reconciled: /var/lib/reconciled/bank
# The provider that the tests have: the sandbox on loopback, a user of its own, outside of our units.
inside systemd-run --quiet --unit=sandbox -p User=nobody -p StandardOutput=null /usr/bin/reconciled sandbox --port 18100
inside bash -c 'printf wrong > /etc/reconciled/credentials/tupay-access-key; printf wrong > /etc/reconciled/credentials/tupay-secret-key; chmod 600 /etc/reconciled/credentials/*'
inside systemctl start reconciled-run@bank-file.service || { inside journalctl --no-pager -u 'reconciled-run@*' | tail; die "the first run"; }
mails=$(inside find /var/lib/reconciled/mail -name '*.eml')
[ -n "$mails" ] || die "no mail"
inside grep -m1 '^Subject' $mails
expect "inside stat -c '%a %U %G' /var/lib/reconciled/reconciled.db" "640 reconciled reconciled"
expect "inside stat -c '%a %U %G' /var/lib/reconciled-shared/reconciled-latest.db" "640 reconciled reconciled-analysts"

step "credentials of the folder reach the job under the unit's sandbox: a check logs in at the provider (the sandbox on loopback)"
inside sed -i -e 's|^# base_url.*|base_url = "http://127.0.0.1:18101"|' /etc/reconciled/jobs/tupay-pe.toml
inside systemctl start reconciled-check.service && die "wrong credentials were taken"
expect 'inside journalctl --no-pager -u reconciled-check.service' 'AUTH 77'
give() { printf '%s\n' "$2" | inside install -m 600 /dev/stdin "/etc/reconciled/credentials/$1"; }
give tupay-access-key recon@merchant.example
give tupay-secret-key tupay-sandbox-password
inside systemctl start reconciled-check.service || { inside journalctl --no-pager -u reconciled-check.service | tail; die "the check"; }
inside grep -rl tupay-sandbox-password /etc /var/lib /var/log /run/log 2>/dev/null | grep -v '^/etc/reconciled/credentials/' && die "the secret is elsewhere"
inside rm /etc/reconciled/credentials/tupay-secret-key
inside systemctl start reconciled-check.service && die "a missing secret was not missed"
expect 'inside journalctl --no-pager -u reconciled-check.service' 'tupay-pe.toml:12: the secret file'
inside rm /etc/reconciled/jobs/tupay-pe.toml
inside systemctl stop sandbox

step "analysts read the published copy and the reports, and nothing else"
inside useradd --no-create-home --groups reconciled-analysts ana
inside useradd --no-create-home eve
as_user ana test -r /var/lib/reconciled-shared/reconciled-latest.db || die "an analyst cannot read the copy"
report=$(inside find /var/lib/reconciled-shared/out -name '*.csv' | head -1)
as_user ana test -r "$report" || die "an analyst cannot read $report"
for closed in /var/lib/reconciled /var/lib/reconciled/reconciled.db /etc/reconciled/reconciled.toml /etc/reconciled/credentials; do
  as_user ana test -r "$closed" && die "an analyst can read $closed"
done
as_user ana test -w /var/lib/reconciled-shared/reconciled-latest.db && die "an analyst can write the copy"
as_user eve test -r /var/lib/reconciled-shared/reconciled-latest.db && die "anybody can read the copy"

step "the demo (HTTP, TLS libraries, SQLite, mails) under the unit's own sandbox"
inside mkdir -p /run/systemd/system/reconciled-run.service.d
inside bash -c 'printf "[Service]\nExecStart=\nExecStart=/usr/bin/reconciled demo --dir /var/lib/reconciled/demo\n" > /run/systemd/system/reconciled-run.service.d/demo.conf'
inside systemctl daemon-reload
inside systemctl start reconciled-run.service || { inside journalctl --no-pager -u reconciled-run.service | tail -20; die "the demo under the sandbox"; }
expect 'inside journalctl --no-pager -u reconciled-run.service' 'all were found, and nothing else'
inside rm -r /run/systemd/system/reconciled-run.service.d /var/lib/reconciled/demo
inside systemctl daemon-reload

step "a unit that is killed: OnFailure= mails the operators from inside the sandbox"
inside sed -i 's|^\[alerts\]$|[alerts]\nrecipients = ["operations@example.com"]|' /etc/reconciled/reconciled.toml
inside mkdir -p /run/systemd/system/reconciled-run.service.d
inside bash -c 'printf "[Service]\nRestart=no\nExecStart=\nExecStart=/bin/sh -c \"kill -KILL 0\"\n" > /run/systemd/system/reconciled-run.service.d/killed.conf'
inside systemctl daemon-reload
inside systemctl start reconciled-run.service && die "a killed unit succeeded"
for _ in $(seq 50); do
  inside grep -rqs 'reconciled-run.service failed (signal, status KILL)' /var/lib/reconciled/mail && break
  sleep 0.2
done
inside grep -rl 'reconciled-run.service failed (signal, status KILL)' /var/lib/reconciled/mail \
  || { inside journalctl --no-pager -u 'reconciled-alert@*' | tail; die "no mail about a killed unit"; }
inside rm -r /run/systemd/system/reconciled-run.service.d
inside systemctl daemon-reload
inside systemctl reset-failed

step "the backup's timer and service"
inside systemctl start reconciled-backup.service
expect 'inside find /var/lib/reconciled/backup -name reconciled-?.db -size +0' '/var/lib/reconciled/backup/reconciled-'
inside systemctl enable --now reconciled-run@bank-file.timer reconciled-backup.timer

step "the long-running service: READY, watchdog, reload, upgrade restarts it, stop within its limit"
inside systemctl enable --now reconciled.service
expect 'inside systemctl show -p ActiveState,SubState,StatusText reconciled.service' 'SubState=running'
inside systemctl show -p StatusText reconciled.service
inside grep -E 'Seccomp:|NoNewPrivs|CapBnd' "/proc/$(inside systemctl show -p MainPID --value reconciled.service)/status"
inside systemctl reload reconciled.service
before=$(inside systemctl show -p MainPID --value reconciled.service)
sums=$(inside md5sum /etc/reconciled/reconciled.toml /etc/reconciled/jobs/bank-file.toml)
install_deb "$second"
after=$(inside systemctl show -p MainPID --value reconciled.service)
[ "$before" != "$after" ] && [ "$after" != 0 ] || die "the upgrade did not restart the service ($before, $after)"
[ "$sums" = "$(inside md5sum /etc/reconciled/reconciled.toml /etc/reconciled/jobs/bank-file.toml)" ] || die "the upgrade changed settings"
inside systemctl stop reconciled.service
expect 'inside systemctl show -p Result reconciled.service' 'Result=success'
install_deb "$first" >/dev/null 2>&1 || die "a downgrade"
install_deb "$second"
expect 'inside systemctl is-active reconciled.service' inactive

step "remove: stopped, no longer started at boot, settings and books stay"
inside systemctl start reconciled.service
inside dpkg --remove reconciled
[ -z "$(inside systemctl list-units --plain --no-legend --state=active 'reconciled*')" ] || die "something of ours still runs"
[ ! -e "$root/usr/bin/reconciled" ] || die "the program is still there"
[ -z "$(find "$root/etc/systemd/system" -name 'reconciled*')" ] || die "links to units are left"
[ -f "$root/etc/reconciled/reconciled.toml" ] && [ -f "$root/var/lib/reconciled/reconciled.db" ] || die "settings or books are gone"

step "purge with books: they are named and kept; without: nothing is left"
expect 'inside dpkg --purge reconciled' 'books, settings or secrets are left in: /etc/reconciled/jobs'
[ -f "$root/var/lib/reconciled/reconciled.db" ] || die "books are gone"
install_deb "$second" >/dev/null 2>&1
inside bash -c 'rm -rf /etc/reconciled/* /etc/reconciled/.gitignore /var/lib/reconciled/* /var/lib/reconciled-shared/*'
inside dpkg --purge reconciled
left=$(inside find /etc /usr /var /run -xdev -name '*reconciled*' -not -path '/var/cache/*' -not -path '/var/log/*' -not -path '/run/systemd/*' 2>/dev/null || true)
[ -z "$left" ] || die "left behind: $left"
inside getent passwd reconciled && die "the user is left"
inside getent group reconciled-analysts && die "the group is left"

shut
step "all of it held"
