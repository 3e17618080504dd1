package page

import (
	"fmt"
	"html"
	"strings"
)

// Chart returns a drawing of the processor time that calls cost.
func Chart(r *Results) string {
	const (
		left, width, line, gap = 250, 420, 18, 40
	)
	var b strings.Builder
	y := 30
	if r.Calls != nil {
		for _, row := range r.Calls.Rows {
			if row.Concurrency != 32 && (row.Concurrency != 1 || !strings.HasPrefix(row.Name, "GET")) {
				continue
			}
			most := 0.0
			for _, name := range r.Calls.Contenders {
				if s := row.Samples[name]; len(s) > 0 {
					most = max(most, quantile(figures(s, cpu), 0.75))
				}
			}
			fmt.Fprintf(&b, `<text x="10" y="%d" class="title">%s: processor time, seconds per 10,000 calls (Redis's in grey)</text>`+"\n", y, html.EscapeString(row.title()))
			for _, name := range r.Calls.Contenders {
				s := row.Samples[name]
				if len(s) == 0 || most == 0 {
					continue
				}
				y += line
				value := median(figures(s, cpu))
				class := "other"
				if strings.HasPrefix(name, "pleo_proxy") {
					class = "ours"
				}
				fmt.Fprintf(&b, `<text x="%d" y="%d" class="name">%s</text>`+"\n", left-8, y+10, html.EscapeString(name))
				bar := value / most * width
				fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="12" class="%s"/>`+"\n", left, y, bar, class)
				text := number(value)
				if name == Nginx || name == RedisProxy {
					redis := median(figures(s, redisCPU))
					extra := min(redis/most*width, width+60-bar)
					fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="12" class="redis"/>`+"\n", left+bar, y, extra)
					bar += extra
					text += " + " + number(redis)
				}
				fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n", left+bar+6, y+10, text)
			}
			y += gap
		}
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 %d" font-family="sans-serif" font-size="12" role="img" aria-label="Processor time per 10,000 calls of each contender">
<style>text{fill:#24292f}.title{font-weight:bold}.name{text-anchor:end}.ours{fill:#0a7d5a}.other{fill:#5b7aa8}.redis{fill:#b0b7c0}</style>
<rect width="800" height="%d" fill="#fff"/>
%s</svg>
`, y, y, b.String())
}
