package caddymodule

const rekeyPath = "/pleo/rekey"

// rekey seals with the first key what has another one: everything, or so many
// connections as limit says, after the cursor that the answer before had as next.
// If the store fails on the way, what was done until then is done.
func (c *apiCall) rekey() *problem {
	cursor, limit, p := c.page(0)
	if p != nil {
		return p
	}
	report, err := c.source.Rekey(c.r.Context(), cursor, limit)
	if err != nil {
		return c.failed(err)
	}
	return c.answer(report)
}
