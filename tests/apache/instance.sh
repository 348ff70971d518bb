# What `up`, `down` and `mqadmin` agree on: where an instance lives, and whether one of its processes runs. Sourced.
# shellcheck shell=bash

default_dir=${TMPDIR:-/tmp}/apache-rocketmq

# Whether process NAME of the instance in $dir runs. A pid alone proves nothing: after a reboot it may be anyone's.
running() {
  local pid args
  pid=$(cat "$dir/$1.pid" 2>/dev/null) || return 1
  args=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null || ps -ww -o args= -p "$pid" 2>/dev/null) || return 1
  [[ $args == *"$dir/$1.conf"* ]]
}

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}
