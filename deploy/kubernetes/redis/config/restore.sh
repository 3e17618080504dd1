#!/bin/sh
# restore.sh [DIRECTORY]: reads an archive of backup.sh from standard input, and
# puts it into the folder `restore`, from which swap.sh takes it. What Redis has
# is not touched.
set -eu
umask 077
cd "${1:-/data}"
rm -rf restore.part
mkdir restore.part
tar -xzof - -C restore.part
files=$(sed -n 's/^file \([^ ]*\) .*/\1/p' restore.part/appendonlydir/appendonly.aof.manifest)
test -n "$files"
for file in $files; do
	if ! test -f "restore.part/appendonlydir/$file"; then
		echo "restore.sh: the archive lacks $file" >&2
		exit 1
	fi
done
rm -rf restore
mv restore.part/appendonlydir restore
rmdir restore.part
echo "The backup is in $PWD/restore. Redis takes it when it starts."
