package page

import (
	"math"
	"math/rand/v2"
	"slices"
)

// median returns the middle of values, and NaN of none.
func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile returns the value below which a share q of values lies.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	below := int(at)
	if below == len(sorted)-1 {
		return sorted[below]
	}
	return sorted[below] + (at-float64(below))*(sorted[below+1]-sorted[below])
}

// estimate is a median with an interval that holds it nineteen times in twenty.
type estimate struct {
	median, low, high float64
	of                int
}

// estimateOf bootstraps the interval: the medians of values that are drawn from
// these, again and again. The draws are always the same, so that a page is the same
// whenever it is made.
func estimateOf(values []float64) estimate {
	e := estimate{median: median(values), of: len(values)}
	if len(values) == 0 {
		e.low, e.high = math.NaN(), math.NaN()
		return e
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // it draws samples
	medians := make([]float64, 1000)
	drawn := make([]float64, len(values))
	for i := range medians {
		for j := range drawn {
			drawn[j] = values[random.IntN(len(values))]
		}
		medians[i] = median(drawn)
	}
	e.low, e.high = quantile(medians, 0.025), quantile(medians, 0.975)
	return e
}

// ratios returns a's figure by b's of the rounds that both were measured in.
func ratios(a, b []Sample, figure func(Sample) float64) []float64 {
	of := make(map[int]float64, len(b))
	for _, s := range b {
		of[s.Round] = figure(s)
	}
	var all []float64
	for _, s := range a {
		if base := of[s.Round]; base > 0 && figure(s) > 0 {
			all = append(all, figure(s)/base)
		}
	}
	return all
}

func figures(samples []Sample, figure func(Sample) float64) []float64 {
	all := make([]float64, len(samples))
	for i, s := range samples {
		all[i] = figure(s)
	}
	return all
}

// slope returns the line of least squares through points: y = at0 + slope x.
func slope(x, y []float64) (at0, perX float64) {
	n := float64(len(x))
	var sx, sy, sxx, sxy float64
	for i := range x {
		sx, sy, sxx, sxy = sx+x[i], sy+y[i], sxx+x[i]*x[i], sxy+x[i]*y[i]
	}
	if d := n*sxx - sx*sx; d != 0 {
		perX = (n*sxy - sx*sy) / d
	}
	return (sy - perX*sx) / n, perX
}

// The figures of a sample.
func rps(s Sample) float64      { return s.RPS }
func p50(s Sample) float64      { return s.P50 }
func p99(s Sample) float64      { return s.P99 }
func cpu(s Sample) float64      { return s.CPU }
func redisCPU(s Sample) float64 { return s.RedisCPU }
