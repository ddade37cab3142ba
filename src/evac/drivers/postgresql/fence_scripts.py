"""The scripts by which a fence acts at the member's place.

The processes are found by their parent and by their working directory, which every process of PostgreSQL has in the
data directory: children whose postmaster died are found as well.

On a full disk the marker takes the room of a file that a stopped server can do without, `postmaster.opts`: it is moved
and written over in its place, which needs no block (but where a file system copies on write). A marker that is there
already is written over itself: terms only grow, so nothing of the old one stays.

With nobody left, the lock file and the shared memory it names are removed: a dead postmaster that nobody has reaped yet
still has its number, and PostgreSQL would take it for a living one.

A start again is as decisive as a stop, and may come late: both decide under one lock, by the highest term that is
known. A stop waits for nobody long: who holds the lock for half a second is frozen, and is killed before it goes on.

What this is not: the order of things, and what each exit code means (`fence`).
"""

from __future__ import annotations

_TERM = """
known() {
  { cat "$marker" 2>/dev/null
    sed -n "s/^evac\\.term *= *'\\([0-9]*\\)'.*/\\1/p" "$data/postgresql.auto.conf" 2>/dev/null
  } | sort -n | tail -n 1
}
"""
_TREE = """
is_postgres() {
  { read -r comm < "/proc/$1/comm"; } 2>/dev/null || return 1
  case $comm in postgres|postmaster) ;; *) return 1;; esac
  { read -r line < "/proc/$1/stat"; } 2>/dev/null || return 1
  rest=${line##*) }
  case $rest in Z*|X*) return 1;; esac
}
find_master() {
  master=
  { read -r m < "$data/postmaster.pid"; } 2>/dev/null || return 0
  is_postgres "$m" && [ "/proc/$m/cwd" -ef "$data" ] && master=$m
}
find_tree() {
  pids=
  for d in /proc/[0-9]*; do
    p=${d#/proc/}
    is_postgres "$p" || continue
    rest=${rest#* }; parent=${rest%% *}
    if [ "$p" = "$master" ] || [ "$parent" = "${master:-none}" ] || [ "$d/cwd" -ef "$data" ]; then pids="$pids $p"; fi
  done
}
"""
MARK = """
mark() {
  echo "$term" 1<> "$marker.new" && truncate -s "$((${#term} + 1))" "$marker.new" && chmod 644 "$marker.new" &&
    sync "$marker.new" && mv "$marker.new" "$marker"
}
mark_somehow() {
  [ "$(cat "$marker" 2>/dev/null)" = "$term" ] && return
  mark && return
  rm -f "$marker.new"
  mark && return
  rm -f "$marker.new"
  mv "$data/postmaster.opts" "$marker.new" 2>/dev/null && mark && return
  [ -s "$marker" ] && echo "$term" 1<> "$marker" && sync "$marker"
}
"""
_ALONE = """
alone() {
  [ -r "$data" ] && command -v flock >/dev/null || return 0
  exec 9< "$data"
  flock -w "$1" 9
}
end_holders() {
  for held in /proc/[0-9]*/fd/9; do
    [ "$held" -ef "$data" ] || continue
    holder=${held#/proc/}; holder=${holder%%/*}
    [ "$holder" = $$ ] || is_postgres "$holder" || kill -KILL "$holder" 2>/dev/null
  done
}
"""
"""One at a time decides whether the member may run: a stop writes its term, a start again compares its own with that.
The lock is on the data directory itself, which needs no room on its disk."""
STOP = (
    """data=$1 marker=$2 term=$3 mode=$4 patience=$5 bin=$6 host=$7 port=$8
[ -d "$data" ] || exit 13
"""
    + _TERM
    + MARK
    + _TREE
    + _ALONE
    + """
alone 0.5 || { end_holders; alone 0.5; }
stored=$(known); [ "${stored:-0}" -gt "$term" ] && { echo "$stored"; exit 11; }
mark_somehow || exit 1
sync "$(dirname "$marker")"
true > "$data/standby.signal"; chown --reference="$data" "$data/standby.signal" 2>/dev/null
sync "$data/standby.signal" "$data"
exec 9<&-
find_master
if [ "$mode" = clean ] && [ -n "$master" ]; then
  kill -INT "$master"
  while [ "$patience" -gt 0 ]; do
    find_master; [ -z "$master" ] && break
    patience=$((patience - 1)); sleep 0.01
  done
fi
tries=300
find_master
[ -n "$master" ] && kill -STOP "$master"
while find_tree; [ -n "$pids" ]; do
  kill -KILL $pids 2>/dev/null
  tries=$((tries - 1)); [ "$tries" -gt 0 ] || { echo "$pids"; exit 12; }
  sleep 0.01
done
segment=$(sed -n '7s/.* //p' "$data/postmaster.pid" 2>/dev/null)
[ -n "$segment" ] && ipcrm -m "$segment" 2>/dev/null
rm -f "$data/postmaster.pid"
export LC_ALL=C
timeout 0.5 "$bin/pg_isready" -q -h "$host" -p "$port" -U evac -d postgres -t 1 2>/dev/null
echo "evac answers: $?"
"$bin/pg_controldata" -D "$data" || true
"""
)
END_OF_LOG = """export LC_ALL=C; "$1/pg_waldump" -q -p "$2/pg_wal" -t "$3" -s "$4" 2>&1; true"""
IS_DOWN = (
    "data=$1 marker=$2\n"
    + _TERM
    + _TREE
    + 'find_master; find_tree\necho "$pids" | wc -w\nif [ -e "$marker" ]; then echo kept; else echo free; fi\n'
    'if [ -e "$data/standby.signal" ]; then echo told; else echo untold; fi\n'
    'echo "$(known)"\nhead -n 7 "$data/postmaster.pid" 2>/dev/null\n[ -d "$data" ]\n'
)
RELEASE = (
    """data=$1 marker=$2 again=$3 bin=$4 term=$5
"""
    + _TERM
    + _ALONE
    + """
if [ "$again" = as-it-was ] || [ "$again" = standby ]; then
  state=$(LC_ALL=C "$bin/pg_controldata" -D "$data" | sed -n 's/^Database cluster state: *//p')
  case "$state" in
    "in production" | "shut down" | "shutting down" | "in crash recovery") was=primary ;;
    "in archive recovery" | "shut down in recovery") was=standby ;;
    *) echo "the state of its data is '$state'" >&2; exit 1 ;;
  esac
  [ "$again" = standby ] && [ "$was" = primary ] && exit 14
  again=$was
fi
alone 5 || { echo "another order for it is at work" >&2; exit 15; }
stored=$(known); [ "${stored:-0}" -gt "$term" ] && { echo "$stored"; exit 11; }
case "$again" in
  primary) rm -f "$data/standby.signal" "$data/recovery.signal" ;;
  standby) true > "$data/standby.signal"; chown --reference="$data" "$data/standby.signal" 2>/dev/null ;;
esac
rm -f "$marker"
sync "$data"
"""
)
"""What it was is in its control file: a standby is in production before it lets anybody write."""
PG_CTL = """bin=$1 data=$2 log=$3 conf=$4
"$bin/pg_ctl" status -D "$data" >/dev/null 2>&1 && exit 0
exec "$bin/pg_ctl" start -s -W -D "$data" -l "$log" ${conf:+-o "-c config_file=$conf"}
"""
