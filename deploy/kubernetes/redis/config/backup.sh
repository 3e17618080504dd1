#!/bin/sh
# backup.sh [DIRECTORY]: writes the append-only file of Redis, which may go on
# running, to standard output, as a compressed archive for restore.sh.
#
# Redis only appends to the file, until it rewrites it: then the manifest has
# changed, and the copy begins again.
set -eu
umask 077
cd "${1:-/data}"
copy=$(mktemp -d ./backup.XXXXXX)
trap 'rm -rf "$copy"' EXIT
trap 'exit 1' HUP INT TERM

# take copies the manifest and the files that it names.
take() {
	rm -rf "$copy/appendonlydir"
	mkdir "$copy/appendonlydir" || return
	cp appendonlydir/appendonly.aof.manifest "$copy/manifest" || return
	# Those of type h are of no use any more, and may be gone.
	grep -v ' type h' "$copy/manifest" >"$copy/appendonlydir/appendonly.aof.manifest" || return
	sed -n 's/^file \([^ ]*\) .*/\1/p' "$copy/appendonlydir/appendonly.aof.manifest" >"$copy/files"
	while read -r file; do
		cp "appendonlydir/$file" "$copy/appendonlydir/" || return
	done <"$copy/files"
	cmp -s "$copy/manifest" appendonlydir/appendonly.aof.manifest
}

tries=1
until take; do
	if test "$tries" = 5; then
		echo "backup.sh: there is no append-only file in $PWD, or Redis is rewriting it again and again" >&2
		exit 1
	fi
	tries=$((tries + 1))
	sleep 1
done
tar -czf - -C "$copy" appendonlydir
