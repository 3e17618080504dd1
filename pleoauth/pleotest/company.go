package pleotest

import "slices"

// Company is one of Pleo's customers, with data of its own at the API.
type Company struct {
	// ID is a UUID.
	ID string `json:"id"`
	// Name is the company's name.
	Name string `json:"name"`
	// Country is an ISO 3166 code of two letters.
	Country string `json:"country"`
	// Currency is an ISO 4217 code.
	Currency string `json:"currency"`

	people []string
	domain string
	vat    string
}

// URN is the company's name as a subject: urn:pleo:company:<id> (Pleo's
// documentation: API reference, external clients).
func (c Company) URN() string { return "urn:pleo:company:" + c.ID }

// Companies are the customers that every emulator has. Where a company is
// asked for, its id, its URN and its name all do.
func Companies() []Company { return slices.Clone(companies) }

func findCompany(name string) (Company, bool) {
	i := slices.IndexFunc(companies, func(c Company) bool {
		return name == c.ID || name == c.URN() || name == c.Name
	})
	if i < 0 {
		return Company{}, false
	}
	return companies[i], true
}

var companies = []Company{
	{
		ID: "3b1d7c52-8f0e-4c6a-9d43-5a1f0c7e2b11", Name: "Nordlys Kaffe ApS",
		Country: "DK", Currency: "DKK", domain: "nordlyskaffe.example", vat: "25",
		people: []string{
			"Astrid Holm", "Mikkel Bruun", "Freja Lindqvist", "Søren Dahl", "Ida Kjær", "Rasmus Toft",
			"Karla Winther", "Emil Skov", "Signe Bach", "Oskar Friis", "Liva Munk", "Noah Bjerre",
			"Alma Krogh", "Viggo Lund", "Clara Juhl", "Anton Berg", "Maja Riis", "Elias Vang",
			"Sofie Ravn", "Malthe Kirk", "Ellen Thorup", "Valdemar Ø. Sand", "Josefine Holst", "Bo Aagaard",
		},
	},
	{
		ID: "a9e4f6d0-27c3-4b85-b1fa-6e0d93c4d722", Name: "Harbour & Finch Ltd",
		Country: "GB", Currency: "GBP", domain: "harbourfinch.example", vat: "20",
		people: []string{
			"Priya Nair", "Tom Ashworth", "Niamh O'Connell", "Gareth Pugh", "Olu Adeyemi", "Hannah Whitlock",
			"Callum Reid", "Zara Hussain", "Ewan MacLeod", "Beth Carrington", "Dev Patel-Shaw", "Rhiannon Price",
		},
	},
	{
		ID: "f05c2b98-6a71-4de2-8c39-b7d84e1a6033", Name: "Gebrüder Weißmann GmbH",
		Country: "DE", Currency: "EUR", domain: "weissmann.example", vat: "19",
		people: []string{
			"Jürgen Weißmann", "Katharina Vogel", "Lukas Brandt", "Anneliese Roth", "Yusuf Demir", "Petra Köhler",
			"Maximilian Haas", "Greta Sommer", "Tobias Engel", "Leonie Fuchs", "Stefan Großmann", "Miriam Adler",
			"Ralf Zimmermann", "Johanna Krüger", "Felix Baumann", "Ursula Schäfer", "Henrik Voß", "Nina Pohl",
		},
	},
}
