package pleotest

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// The API's data is computed from the company's id, so that it is the same in
// every run and no id of one company is found at another.

type money struct {
	Value    string `json:"value"`
	Currency string `json:"currency"`
}

type employee struct {
	ID        string    `json:"id"`
	CompanyID string    `json:"companyId"`
	FirstName string    `json:"firstName"`
	LastName  string    `json:"lastName"`
	Email     string    `json:"email"`
	Code      string    `json:"code"`
	JobTitle  string    `json:"jobTitle"`
	CreatedAt time.Time `json:"createdAt"`
}

type exportItem struct {
	ID          string    `json:"id"`
	CompanyID   string    `json:"companyId"`
	EmployeeID  string    `json:"employeeId"`
	Date        string    `json:"date"`
	Merchant    string    `json:"merchantName"`
	Text        string    `json:"note"`
	Amount      money     `json:"amount"`
	Account     string    `json:"accountNumber"`
	TaxCode     string    `json:"taxCode"`
	Status      string    `json:"exportStatus"`
	PerformedAt time.Time `json:"performedAt"`
}

type exportJob struct {
	ID        string    `json:"id"`
	CompanyID string    `json:"companyId"`
	Status    string    `json:"status"`
	CreatedAt time.Time `json:"createdAt"`
	Items     []string  `json:"exportItemIds"`
}

type jobItem struct {
	JobID  string `json:"jobId"`
	ItemID string `json:"exportItemId"`
	Status string `json:"status"`
}

type tagGroup struct {
	ID        string `json:"id"`
	CompanyID string `json:"companyId"`
	Name      string `json:"name"`
	Tags      []tag  `json:"tags"`
}

type tag struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Code string `json:"code"`
}

type taxCode struct {
	ID        string `json:"id"`
	CompanyID string `json:"companyId"`
	Name      string `json:"name"`
	Code      string `json:"code"`
	Rate      string `json:"rate"`
}

// itemsPerCompany is a few hundred: more than a page, less than is slow.
const itemsPerCompany = 320

var (
	dataStart = time.Date(2025, time.January, 6, 8, 0, 0, 0, time.UTC)
	jobTitles = []string{"Accountant", "Account manager", "Engineer", "Designer", "Office manager", "Sales lead"}
	merchants = []string{
		"Northern Rail", "Paper & Ink", "Café Central", "Bergmann Hotel", "Cloudspace", "Metro Taxi",
		"Green Grocer", "Hansen Isenkram", "Skyways", "Print4You",
	}
	purposes = []string{"Client visit", "Team lunch", "Office supplies", "Conference", "Hosting", "Taxi to the airport"}
	statuses = []string{"exported", "queued", "not_exported"}
)

// id derives a UUID from the company and what it is the id of.
func (c Company) id(kind string, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", c.ID, kind, n))
	return formatUUID([16]byte(sum[:16]))
}

func (c Company) random() *rand.Rand {
	return rand.New(rand.NewChaCha8(sha256.Sum256([]byte(c.ID)))) //nolint:gosec // it has to be the same in every run
}

var mailNames = strings.NewReplacer(
	" ", ".", "'", "", "ø", "oe", "æ", "ae", "å", "aa", "ö", "oe", "ü", "ue", "ä", "ae", "ß", "ss", "..", ".",
)

func (c Company) employees() []employee {
	list := make([]employee, len(c.people))
	for i, name := range c.people {
		first, last, _ := strings.Cut(name, " ")
		list[i] = employee{
			ID: c.id("employee", i), CompanyID: c.ID, FirstName: first, LastName: last,
			Email: mailNames.Replace(strings.ToLower(name)) + "@" + c.domain, Code: fmt.Sprintf("E%03d", i+1),
			JobTitle: jobTitles[i%len(jobTitles)], CreatedAt: dataStart.AddDate(0, 0, i),
		}
	}
	return list
}

func (c Company) exportItems() []exportItem {
	random, list := c.random(), make([]exportItem, itemsPerCompany)
	for i := range list {
		at := dataStart.Add(time.Duration(i)*9*time.Hour + time.Duration(random.IntN(60))*time.Minute)
		list[i] = exportItem{
			ID: c.id("item", i), CompanyID: c.ID, EmployeeID: c.id("employee", random.IntN(len(c.people))),
			Date: at.Format(time.DateOnly), PerformedAt: at,
			Merchant: merchants[random.IntN(len(merchants))], Text: purposes[random.IntN(len(purposes))],
			Amount:  money{fmt.Sprintf("%d.%02d", 4+random.IntN(900), random.IntN(100)), c.Currency},
			Account: fmt.Sprint(6000 + 10*random.IntN(40)), TaxCode: "VAT" + c.vat,
			Status: statuses[random.IntN(len(statuses))],
		}
	}
	return list
}

func (c Company) exportJobs() []exportJob {
	list := make([]exportJob, 4)
	for i := range list {
		list[i] = exportJob{
			ID: c.id("job", i), CompanyID: c.ID, Status: "completed",
			CreatedAt: dataStart.AddDate(0, 1+i, 0),
		}
		for item := range 12 {
			list[i].Items = append(list[i].Items, c.id("item", i*12+item))
		}
	}
	list[len(list)-1].Status = "failed"
	return list
}

func (c Company) tagGroups() []tagGroup {
	groups := []tagGroup{{Name: "Department"}, {Name: "Project"}}
	tags := [][]string{{"Finance", "Operations", "Sales", "Engineering"}, {"Office move", "Website", "Spring fair"}}
	for i := range groups {
		groups[i].ID, groups[i].CompanyID = c.id("tag group", i), c.ID
		for j, name := range tags[i] {
			groups[i].Tags = append(groups[i].Tags, tag{
				ID: c.id("tag in "+groups[i].Name, j), Name: name, Code: fmt.Sprintf("%c%02d", groups[i].Name[0], j+1),
			})
		}
	}
	return groups
}

func (c Company) taxCodes() []taxCode {
	return []taxCode{
		{ID: c.id("tax code", 0), CompanyID: c.ID, Name: "Standard rate", Code: "VAT" + c.vat, Rate: c.vat},
		{ID: c.id("tax code", 1), CompanyID: c.ID, Name: "Zero rate", Code: "VAT0", Rate: "0"},
		{ID: c.id("tax code", 2), CompanyID: c.ID, Name: "Reverse charge", Code: "RC", Rate: "0"},
	}
}
