#!/usr/bin/env bash
# xcaddy.sh [VERSION]: builds Caddy with this module into bin/caddy, from the
# working tree or from a published VERSION such as v1.2.3, then lists the modules
# and validates Caddyfile.example.
#
# It uses the xcaddy on PATH, and without one builds xcaddy for the occasion.
# Where modules come from is up to the environment (GOPROXY, GOFLAGS, …).
set -euo pipefail
cd "$(dirname "$0")"

xcaddy_version=v0.4.7
module=$(go list -m)
caddy_version=$(go list -m -f '{{.Version}}' github.com/caddyserver/caddy/v2)
output=$PWD/bin/caddy

case $# in
0) with=(--with "$module/caddymodule" --replace "$module=$PWD") ;;
1) with=(--with "$module/caddymodule@$1") ;;
*)
	echo "usage: $0 [VERSION]" >&2
	exit 2
	;;
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if command -v xcaddy >/dev/null 2>&1; then
	xcaddy=xcaddy
else
	# A module of its own: `go install …@version` fails with module proxies that
	# do not know xcaddy's newest version by name, and go.mod stays as it is.
	echo "xcaddy.sh: no xcaddy on PATH; building $xcaddy_version"
	mkdir "$scratch/xcaddy"
	cat >"$scratch/xcaddy/main.go" <<-'GO'
		package main

		import xcaddycmd "github.com/caddyserver/xcaddy/cmd"

		func main() { xcaddycmd.Main() }
	GO
	(
		cd "$scratch/xcaddy"
		go mod init xcaddy
		go mod edit -require "github.com/caddyserver/xcaddy@$xcaddy_version"
		go mod tidy
		go build -o "$scratch/bin/xcaddy" .
	) >"$scratch/log" 2>&1 || {
		cat "$scratch/log" >&2
		exit 1
	}
	xcaddy=$scratch/bin/xcaddy
fi

mkdir -p "$(dirname "$output")"
"$xcaddy" build "$caddy_version" "${with[@]}" --output "$output"

echo "xcaddy.sh: modules in $output"
"$output" list-modules | grep pleo

PLEO_AUTH_SERVER=https://auth.staging.pleo.io PLEO_API_SERVER=https://external.staging.pleo.io \
	PLEO_REDIRECT_URI=http://localhost:8080/pleo/callback PLEO_AUTHORISE_URI=http://localhost:8080/pleo/authorise \
	PLEO_PORT=7536 PLEO_SITE_ADDRESS=http://localhost:8080 PLEO_SITE_BIND=127.0.0.1 \
	PLEO_CLIENT_ID=example PLEO_CLIENT_SECRET=example PLEO_REDIS_URL=redis://localhost:6379/0 \
	PLEO_ENCRYPTION_KEY=$("$output" pleo keygen) \
	"$output" validate --config Caddyfile.example >"$scratch/log" 2>&1 || {
	cat "$scratch/log" >&2
	exit 1
}
echo "xcaddy.sh: Caddyfile.example is valid"
