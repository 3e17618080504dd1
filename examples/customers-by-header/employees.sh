#!/bin/sh
# How many employees does each customer have? The header says which one a call
# is for. Needs curl and jq.
#
#   sh employees.sh acme umbrella
set -eu

api=${PLEO_API:-http://127.0.0.1:7536}

for customer in "$@"; do
	answer=$(curl --silent --show-error --fail-with-body --header "Pleo-Connection: $customer" "$api/v2/employees") || {
		printf '%s\n' "$answer" >&2
		exit 1
	}
	printf '%s: %d\n' "$customer" "$(printf '%s\n' "$answer" | jq .pagination.total)"
done
