#!/bin/sh
# swap.sh [DIRECTORY]: puts the backup that restore.sh has unpacked, if there is
# one, into the place of the append-only file, which is kept in the folder
# `replaced`. Redis must not be running.
set -eu
cd "${1:-/data}"
test -d restore || exit 0
if test -d appendonlydir; then
	rm -rf replaced
	mv appendonlydir replaced
fi
mv restore appendonlydir
