#!/bin/sh
# What the package does in a Debian 12 of its own, which it leaves as it was.
set -u
digits=/usr/share/kerf/models/digits
failed=0

check() { # check WHAT COMMAND...
    what=$1
    shift
    if "$@" >/tmp/check 2>&1; then
        echo "ok: $what"
    else
        echo "FAILED: $what"
        tail -n 15 /tmp/check
        failed=$((failed + 1))
    fi
}

# soon COMMAND... - waits for it to be true.
soon() {
    for _ in $(seq 300); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.2
    done
    "$@"
}

files() {
    find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp \
        -o -path /dev -o -path /var/log -o -path /var/tmp -o -path '/var/lib/dpkg' \
        -o -path /var/lib/systemd -o -path /var/cache/ldconfig -o -path /root -o -path /told \) -prune \
        -o -print | sort
}

has_all_libraries() {
    for file in /usr/bin/kerf /usr/lib/*/libkerf.so /usr/lib/*/kerf/*; do
        ldd "$file" | grep 'not found' && return 1
    done
    ldd /usr/bin/kerf | grep 'libopenvino_c.so.* => /usr/.*/kerf/'
}

as_documented() { # of a unit: nobody, and bound
    pid=$(systemctl show -P MainPID "$1")
    cat "/proc/$pid/status"
    grep -q '^NoNewPrivs:.1' "/proc/$pid/status" &&
        grep -q '^Seccomp:.2' "/proc/$pid/status" &&
        grep -q '^CapEff:.0*$' "/proc/$pid/status" &&
        ! grep -q '^Uid:.0' "/proc/$pid/status"
}

no_warnings() {
    journalctl -q -u kerf-cloud -u kerf-edge -p warning --no-pager >/tmp/warned
    cat /tmp/warned
    [ ! -s /tmp/warned ]
}

has_results() { [ "$(find /var/lib/kerf-edge/results -name '*.npy' | wc -l)" -ge 40 ]; }

logged() { journalctl -q -u "$1" -o cat --no-pager | grep -q "$2"; }

restarted() { # restarted UNIT PID - another process is up
    now=$(systemctl show -P MainPID "$1")
    [ "$now" != "$2" ] && [ "$now" -gt 0 ] && systemctl is-active "$1"
}

files >/tmp/before
check "it installs, with what its Depends name" dpkg -i /kerf.deb
check "every library is found" has_all_libraries
check "kerf --version" kerf --version
check "nothing was started" test "$(systemctl is-active kerf-cloud)" = inactive
for unit in kerf-cloud kerf-edge; do
    check "$unit: systemd-analyze verify" systemd-analyze verify --man=no /usr/lib/systemd/system/$unit.service
    check "$unit: exposure of 2 at most" systemd-analyze security --threshold=20 --no-pager $unit.service
    tail -n 1 /tmp/check
    # A call that the filter refuses would kill it here.
    mkdir -p /etc/systemd/system/$unit.service.d
    printf '[Service]\nSystemCallErrorNumber=kill\nWatchdogSec=4\n' >/etc/systemd/system/$unit.service.d/test.conf
done
sed -i "s,^models = .*,models = $digits," /etc/kerf/cloud.conf
sed -i "s,^store = .*,&\nsave = results\ninput = $digits/images," /etc/kerf/edge.conf
systemctl daemon-reload

check "the cloud starts" systemctl start kerf-cloud
check "the edge starts" systemctl start kerf-edge
check "the edge has 40 answers" soon has_results
if [ "$failed" -gt 0 ]; then # the rest would only wait
    journalctl -q -u 'kerf-*' -n 40 --no-pager
    exit 1
fi
check "split and whole agree" kerf run $digits/digits --input $digits/images --quiet --against /var/lib/kerf-edge/results
grep equal /tmp/check
for unit in kerf-cloud kerf-edge; do check "$unit: a user of its own, bound" as_documented $unit; done
check "no warning was logged" no_warnings
check "the log says that the head was shipped" logged kerf-cloud event=cloud.shipped
check "kerf top sees the edge" sh -c 'kerf top --control /run/kerf-cloud/control --once --json | grep -q digits'
check "systemctl status says what it does" soon sh -c 'systemctl status kerf-cloud | grep "Status: \"1 edge"'
echo 'log = debug' >>/etc/kerf/cloud.conf
check "reload" systemctl reload kerf-cloud
check "reload reads the file again" soon logged kerf-cloud event=config.reread
for unit in kerf-cloud kerf-edge; do
    pid=$(systemctl show -P MainPID $unit)
    kill -STOP "$pid"
    check "$unit: one that hangs is started again" soon restarted $unit "$pid"
done
check "the edge is back with its cloud" soon sh -c 'kerf top --control /run/kerf-cloud/control --once --json | grep -q digits'
# On the reference's wire nobody feeds the watchdog: it is told so.
systemd-run --quiet --unit=kerf-legacy -p Type=notify -p WatchdogSec=1 \
    kerf edge --legacy --store /tmp/legacy --edge-port 0
sleep 4
check "kerf edge --legacy lives on under a watchdog" systemctl is-active kerf-legacy
systemctl stop kerf-legacy

# Folders of keys are the services' own.
cd /root || exit 1
for words in authority 'cloud 127.0.0.1' 'edge door-1'; do
    # shellcheck disable=SC2086 # a list of words
    check "kerf keygen $words" kerf keygen $words
done
cp -r keys/clouds/* /var/lib/kerf-cloud/tls
cp -r keys/edges/door-1 /var/lib/kerf-edge/tls
for one in cloud edge; do
    chown -R --reference=/var/lib/kerf-$one/. /var/lib/kerf-$one/tls
    echo 'tls = tls' >>/etc/kerf/$one.conf
done
check "both start again with TLS" systemctl restart kerf-cloud kerf-edge
check "the edge goes by its certificate's name" soon sh -c 'kerf top --control /run/kerf-cloud/control --once --json | grep -q door-1'

check "a newer package installs over it" dpkg -i /kerf.deb
check "... and its edge is back" soon sh -c 'kerf top --control /run/kerf-cloud/control --once --json | grep -q door-1'
check "... with the configuration as it was" grep -q '^tls = tls' /etc/kerf/cloud.conf

echo 'no-such = 1' >>/etc/kerf/cloud.conf
systemctl restart kerf-cloud 2>/dev/null
check "a wrong file is told, and not tried again" logged kerf-cloud 'cloud.conf:.*unknown name no-such'
check "... and leaves it failed" test "$(systemctl is-failed kerf-cloud)" = failed

check "it goes while it runs" dpkg -P kerf
check "and nothing of it runs" test "$(systemctl is-active kerf-edge)" != active
rm -rf /etc/systemd/system/kerf-*.service.d
files >/tmp/after
check "it leaves nothing behind" diff /tmp/before /tmp/after
[ "$failed" -eq 0 ] && echo "inside: all good"
[ "$failed" -eq 0 ] || journalctl -q -u 'kerf-*' -n 60 --no-pager
