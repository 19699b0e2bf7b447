#!/bin/busybox sh
# /init of the kernel-matrix guest: mounts what a node has, runs the agent
# beside a real API, and reports on the second serial port, one fact a line:
#
#   STRATA-GUEST key value      a fact
#   STRATA-CHECK line           a line of `strata check -o json`
#   STRATA-SCRAPE phase line    a line of the last scrape of that phase
#   STRATA-LOG name line        the tail of a program's output
#
# The last fact is `result ok` when the script came to its end. It judges
# nothing: the host compares the facts with what that kernel must do. When init
# ends early the kernel panics, which ends the virtual machine (panic=-1).

export PATH=/bin:/usr/bin:/sbin:/usr/sbin
/bin/busybox --install -s /bin

mkdir -p /proc /sys /dev /tmp /run /var/log
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
ifconfig lo 127.0.0.1 up

stty -F /dev/ttyS1 raw
exec 3>/dev/ttyS1

API=127.0.0.1:8080
AGENT=127.0.0.1:9464
WGETS=50      # requests on a connection of their own
PIPELINED=25  # requests in one write on one connection
# The API's cgroup, named as Docker names a container's on a host with systemd.
CONTAINER=docker-c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00.scope
CAPABILITIES=+bpf,+perfmon,+sys_ptrace,+dac_read_search

fact() { echo "STRATA-GUEST $*" >&3; }
# The kernel hands what it does not know on its command line to init, as variables.
case $STRATA_LOG_LEVEL in debug | trace) LINES=5000 ;; *) LINES=40 ;; esac
log_tail() { tail -n $LINES "$2" 2>/dev/null | sed "s/^/STRATA-LOG $1 /" >&3; }
finish() {
	fact uptime_s "$(cut -d' ' -f1 /proc/uptime)"
	fact result "$*"
	exec 3>&- # closing a serial port waits until it is drained
	poweroff -f
	exit 1
}
now_ms() { awk '{ printf "%d", $1 * 1000 }' /proc/uptime; }

# in_cgroup NAME COMMAND...: becomes COMMAND inside a cgroup such as systemd makes.
in_cgroup() {
	mkdir -p "/sys/fs/cgroup/system.slice/$1"
	echo 0 >"/sys/fs/cgroup/system.slice/$1/cgroup.procs"
	shift
	exec "$@"
}

# until_true SECONDS COMMAND...: tries a command about ten times a second.
until_true() {
	deadline=$(($(now_ms) + $1 * 1000))
	shift
	while ! "$@" >/dev/null 2>&1; do
		[ "$(now_ms)" -lt $deadline ] || return 1
		usleep 100000
	done
}

# stop PID: SIGTERM, bounded by a SIGKILL that shows as 137. Sets STATUS.
stop() {
	kill -TERM "$1"
	(sleep 20 && kill -KILL "$1") 2>/dev/null &
	watchdog=$!
	wait "$1"
	STATUS=$?
	kill "$watchdog" 2>/dev/null
}

api_start() {
	(in_cgroup "$CONTAINER" /usr/bin/setpriv --reuid 1000 --regid 1000 --clear-groups \
		/bin/goapi -listen "$API" >/tmp/api.log 2>&1) &
	API_PID=$!
	until_true 30 grep -q listening /tmp/api.log || {
		log_tail api /tmp/api.log
		finish failed the API does not listen
	}
}

# (The static busybox crashes in wget's own -T: `timeout` bounds it instead.)
# Prints how many requests a client saw answered with 200: the truth to count against.
requests() {
	i=0
	while [ $i -lt $WGETS ]; do
		timeout 10 wget -S -q -O /dev/null "http://$API/hello" 2>&1
		i=$((i + 1))
	done | grep -c '^ *HTTP/1.1 200' >/tmp/answered.1
	{
		i=1
		while [ $i -lt $PIPELINED ]; do
			printf 'GET /hello HTTP/1.1\r\nHost: guest\r\n\r\n'
			i=$((i + 1))
		done
		printf 'GET /hello HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n'
	} >/tmp/pipelined
	# The sleep keeps this direction open: a half-close is another test.
	{ cat /tmp/pipelined && sleep 2; } | nc "${API%:*}" "${API#*:}" |
		grep -o 'HTTP/1.1 200' | grep -c . >/tmp/answered.2
	echo $(($(cat /tmp/answered.1) + $(cat /tmp/answered.2)))
}

counted() {
	awk '/^http_server_request_duration_seconds_count/ { n += $NF } END { print n + 0 }' /tmp/scrape
}
scrape() { timeout 10 wget -q -O /tmp/scrape "http://$AGENT/metrics"; }
scraped_at_least() { scrape && [ "$(counted)" -ge "$1" ]; }
ready() { timeout 2 wget -q -O /dev/null "http://$AGENT/readyz"; }

# phase NAME LAUNCHER...: one life of the agent under LAUNCHER, with requests.
phase() {
	name=$1
	shift
	began=$(now_ms)
	(in_cgroup strata.service "$@" /bin/strata agent --listen "$AGENT" --port "${API#*:}" \
		>"/tmp/$name.log" 2>&1) &
	pid=$!
	if until_true 60 ready; then
		fact "$name.ready_ms" $(($(now_ms) - began))
		grep -E '^(Uid|Cap(Prm|Eff|Bnd)):' "/proc/$pid/status" | while read -r key value rest; do
			fact "$name.$key" "$value"
		done
		[ -n "$API_PID" ] || api_start
		# Nobody listens there: a reset without a socket, which a hook must bear.
		timeout 5 nc "${API%:*}" 9 </dev/null >/dev/null 2>&1
		answered=$(requests)
		fact "$name.answered" "$answered"
		# The count may take a moment to arrive; it may not arrive twice. A
		# kernel without this tracepoint has nothing to wait for.
		[ ! -e /sys/kernel/tracing/events/sock/sk_data_ready ] ||
			until_true 10 scraped_at_least "$answered"
		sleep 1
		scrape || fact "$name.scrape" failed
		sed "s/^/STRATA-SCRAPE $name /" /tmp/scrape >&3
		rm -f /tmp/scrape
	fi
	began=$(now_ms)
	stop "$pid"
	fact "$name.exit" "$STATUS"
	fact "$name.stop_ms" $(($(now_ms) - began))
	fact "$name.pins" "$(find /sys/fs/bpf -mindepth 1 | grep -c .)"
	log_tail "$name" "/tmp/$name.log"
}

fact release "$(uname -r)"
fact processors "$(nproc)"
fact btf_bytes "$(wc -c </sys/kernel/btf/vmlinux 2>/dev/null || echo 0)"
fact requests $((WGETS + PIPELINED))
fact boot_s "$(cut -d' ' -f1 /proc/uptime)"

began=$(now_ms)
# With spans on, where the programs do the most.
/bin/strata check -o json --traces-endpoint http://127.0.0.1:4318 >/tmp/check.json 2>/tmp/check.log
fact check.exit $?
fact check.ms $(($(now_ms) - began))
sed 's/^/STRATA-CHECK /' /tmp/check.json >&3
log_tail check /tmp/check.log

# The agent first, then the API that it is to notice.
phase root

# The API first, and a node that is strict: unprivileged BPF off for good, no
# perf events, no kernel addresses, and only the capabilities that we ask for.
sysctl -w kernel.unprivileged_bpf_disabled=2 kernel.perf_event_paranoid=4 kernel.kptr_restrict=2 >/dev/null 2>&1
fact sysctl.unprivileged_bpf_disabled "$(cat /proc/sys/kernel/unprivileged_bpf_disabled)"
fact sysctl.perf_event_paranoid "$(cat /proc/sys/kernel/perf_event_paranoid)"
fact sysctl.kptr_restrict "$(cat /proc/sys/kernel/kptr_restrict)"
phase restricted /usr/bin/setpriv --bounding-set "-all,$CAPABILITIES" --inh-caps -all

# And without any: it must say what it lacks and leave with 3.
timeout 60 /usr/bin/setpriv --bounding-set -all --inh-caps -all \
	/bin/strata agent --listen "$AGENT" --port "${API#*:}" >/tmp/denied.log 2>&1
fact denied.exit $?
log_tail denied /tmp/denied.log

[ -z "$API_PID" ] || stop "$API_PID"
finish ok
