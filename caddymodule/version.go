package caddymodule

import (
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// modulePath is what this module is called in what a binary is built of.
const modulePath = "github.com/pleo-auth-proxy/pleo-auth-proxy"

// version is set by the linker, where a build has no repository to take it from:
// -X github.com/pleo-auth-proxy/pleo-auth-proxy/caddymodule.version=v1.2.3.
var version string

// Version returns this module's version, such as v1.2.3, also in a Caddy that was
// built with it: what the build was told, what it was built from, or "unknown".
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, module := range append(info.Deps, &info.Main) {
		if module.Replace != nil && module.Path == modulePath {
			module = &debug.Module{Path: modulePath, Version: module.Replace.Version}
		}
		if module.Path == modulePath && module.Version != "" {
			return module.Version
		}
	}
	return "unknown"
}

// newBuildInfo is 1 for the version that runs, as Prometheus' own programs have it.
func newBuildInfo() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "pleo_build_info",
		Help:        "Always 1, for the version that runs.",
		ConstLabels: prometheus.Labels{"version": Version(), "goversion": runtime.Version()},
	}, func() float64 { return 1 })
}
