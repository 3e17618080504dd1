package pleotest

import "strings"

// scopeText is a scope and what the consent page says about it.
type scopeText struct{ Scope, Text string }

var permissions = map[string]string{"read": "see", "write": "change"}

var resources = map[string]string{
	"companies": "company details", "export": "what is exported to accounting", "export-items": "export items",
	"export-jobs": "export jobs", "receipts": "receipts", "tags": "tags", "tax-codes": "tax codes",
	"users": "employees",
}

// describeScopes puts resource:permission (Pleo's documentation: API scopes)
// into words.
func describeScopes(scope string) []scopeText {
	names := strings.Split(scope, " ")
	texts := make([]scopeText, 0, len(names))
	for _, name := range names {
		resource, permission, _ := strings.Cut(name, ":")
		verb, ok := permissions[permission]
		if !ok {
			verb = permission
		}
		noun, ok := resources[resource]
		if !ok {
			noun = resource
		}
		texts = append(texts, scopeText{name, verb + " " + noun})
	}
	return texts
}
