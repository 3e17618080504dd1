package caddymodule

import "net/http"

// ticketNeededPage answers a link without a ticket where only one-time links
// start an authorisation.
func ticketNeededPage() *page {
	return &page{
		status: http.StatusForbidden,
		Title:  "A personal link is needed",
		Text:   "Companies are connected here with one-time links only, and this is none.",
		Hint:   "Nothing was changed. Go back to where you came from and start again there, or ask whoever sent you here for a link.",
	}
}

// ticketRefusedPage answers a one-time link that cannot be used. It does not
// tell which of the reasons holds: that would help who tries links.
func ticketRefusedPage() *page {
	return &page{
		status: http.StatusForbidden,
		Title:  "This link cannot be used",
		Text:   "One-time links work once and for a quarter of an hour. This one has been used, has expired, or was changed.",
		Hint:   "Nothing was changed. Go back to where you came from and start again there, or ask whoever sent it to you for a new one.",
	}
}
