package caddymodule

const healthPath = "/pleo/health"

// health says what pleo_health says, for a command that has no site with it.
func (c *apiCall) health() *problem {
	_ = c.app.answerHealth(c.w, c.r) // it has been answered, or the caller is gone
	return nil
}
