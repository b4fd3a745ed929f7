#!/bin/sh
# run.sh DEB WORK - installs the package in a Debian 12 of its own, with systemd
# as its first process and no network but loopback, and runs inside.sh there.
# Nothing of this machine is to be seen in it. As root; keeps the plain Debian
# in WORK for the next time.
set -eu
deb=$1
work=$2
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

say() { printf '==> %s\n' "$*" >&2; }

# The packages that it names, without versions: what is missing here is missing
# in its Depends.
needs=$(dpkg-deb -f "$deb" Depends | sed 's/([^)]*)//g; s/|[^,]*//g; s/ //g')
plain="systemd,systemd-sysv,dbus,$needs"
base=$work/debian12-$(printf '%s' "$plain" | sha256sum | cut -c1-12).tar
mkdir -p "$work"
if [ ! -f "$base" ]; then
    say "making a Debian 12 with what the package depends on"
    mmdebstrap --quiet --variant=minbase --include="$plain" bookworm "$base.part.tar"
    mv "$base.part.tar" "$base"
fi

# Nobody is meant by the address, and one package has library and program.
lintian --allow-root --fail-on error --suppress-tags bogus-mail-host "$deb" >&2 || {
    say "lintian finds errors"
    exit 1
}

root=$(mktemp -d "$work/root.XXXXXX")
# A container that still runs would be cut off at its root: nspawn ends with it.
trap 'rm -rf --one-file-system "$root"' EXIT
tar -C "$root" -xf "$base"
cp "$deb" "$root/kerf.deb"
cp "$here/inside.sh" "$root/inside.sh"
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
cat >"$root/etc/systemd/system/inside.service" <<'END'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /inside.sh
ExecStopPost=/bin/systemctl --no-block poweroff
StandardOutput=file:/told
StandardError=inherit
TimeoutStartSec=10min
END
ln -s ../inside.service "$root/etc/systemd/system/multi-user.target.wants/inside.service"
rm -f "$root/etc/machine-id"
# There will be no network to wait for.
ln -s /dev/null "$root/etc/systemd/system/systemd-networkd-wait-online.service"
say "installing and running it there"
systemd-nspawn --quiet --directory="$root" --private-network --register=no \
    --keep-unit --boot >"$work/boot.log" 2>&1 </dev/null || {
    tail -n 20 "$work/boot.log" >&2
    say "systemd does not start in a container here"
    exit 1
}
cp "$root/told" "$work/told"
cat "$root/told"
grep -q '^inside: all good$' "$root/told"
