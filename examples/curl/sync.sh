#!/bin/sh
# Lists a company's employees, pages through its export items and uploads a
# receipt. Needs curl and jq.
#
#   sh sync.sh receipt.pdf
set -eu

api=${PLEO_API:-https://external.pleo.io}

# call OPTIONS...: the answer, or its error on standard error and no further.
call() {
	answer=$(curl --silent --show-error --fail-with-body "$@") || {
		printf '%s\n' "$answer" >&2
		exit 1
	}
	printf '%s\n' "$answer"
}

# all PATH: the items of every page, one a line.
all() {
	after=
	while :; do
		page=$(call --get "$api$1" --data limit=100 ${after:+--data-urlencode "after=$after"})
		printf '%s\n' "$page" | jq --compact-output '.data[]'
		after=$(printf '%s\n' "$page" | jq --raw-output '.pagination | select(.hasNextPage).endCursor')
		[ -n "$after" ] || return 0
	done
}

employees=$(all /v2/employees)
printf '%s\n' "$employees" | jq --raw-output '"\(.firstName) \(.lastName)"'

items=$(all /v3/export-items)
printf 'export items: %d\n' "$(printf '%s\n' "$items" | jq --slurp length)"

receipt=$(call --header 'Content-Type: application/pdf' --data-binary "@$1" "$api/v1/receipts")
printf 'receipt: %s\n' "$(printf '%s\n' "$receipt" | jq --raw-output .data.id)"
