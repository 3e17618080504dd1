package caddymodule

// linkRequest is what a link with a one-time ticket is asked for with.
type linkRequest struct {
	// Subject is the company that has to authorise. Default: any.
	Subject string `json:"subject,omitempty"`
	// ReturnTo is where the browser goes afterwards. Default: a page that says
	// that it worked.
	ReturnTo string `json:"return_to,omitempty"`
}

// linkAnswer is a link with a one-time ticket.
type linkAnswer struct {
	Connection string `json:"connection"`
	URL        string `json:"url"`
	// ExpiresIn is in seconds.
	ExpiresIn int64 `json:"expires_in"`
}
