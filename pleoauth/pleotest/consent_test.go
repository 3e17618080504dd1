package pleotest_test

import (
	"net/http"
	"net/url"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

var consentField = regexp.MustCompile(`name="consent" value="([^"]+)"`)

// open shows the consent page and returns its id.
func (i *integration) open(request url.Values) (page, id string) {
	i.t.Helper()
	a := i.do(i.newRequest(http.MethodGet, i.authoriseURL(request), ""))
	require.Equal(i.t, http.StatusOK, a.Status)
	require.Equal(i.t, "no-store", a.Header.Get("Cache-Control"))
	match := consentField.FindStringSubmatch(a.Raw)
	require.NotNil(i.t, match, a.Raw)
	return a.Raw, match[1]
}

func (i *integration) click(form url.Values, header ...string) answer {
	i.t.Helper()
	r := i.newRequest(http.MethodPost, i.AuthURL+"/oauth/authorize", form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for n := 0; n < len(header); n += 2 {
		r.Header.Set(header[n], header[n+1])
	}
	return i.do(r)
}

func TestAPersonSeesWhoAsksForWhatAndMayApprove(t *testing.T) {
	i := start(t)
	page, id := i.open(i.request())
	for _, text := range []string{"Acme Expenses", "users:read", "export:read", "Harbour &amp; Finch Ltd", "Approve", "Deny"} {
		require.Contains(t, page, text)
	}
	company := pleotest.Companies()[1]
	a := i.click(url.Values{"consent": {id}, "company": {company.ID}, "decision": {"approve"}})
	require.Equal(t, http.StatusSeeOther, a.Status)
	tokens := i.token(exchange(parse(t, a.Header.Get("Location")).Query().Get("code")))
	require.Equal(t, company.URN(), i.introspect(tokens.Access).Body["urn:pleo:params:oauth:subject_urn"])
}

func TestAPersonMayDeny(t *testing.T) {
	i := start(t)
	_, id := i.open(i.request())
	a := i.click(url.Values{"consent": {id}, "decision": {"deny"}})
	require.Equal(t, "access_denied", parse(t, a.Header.Get("Location")).Query().Get("error"))
}

func TestADecisionCountsOnceAndOnlyFromTheConsentPage(t *testing.T) {
	i := start(t)
	_, id := i.open(i.request())
	form := url.Values{"consent": {id}, "company": {pleotest.Companies()[0].ID}, "decision": {"approve"}}
	require.Equal(t, http.StatusForbidden, i.click(form, "Sec-Fetch-Site", "cross-site").Status)
	require.Equal(t, http.StatusForbidden, i.click(form, "Origin", "https://evil.example").Status)
	require.Equal(t, http.StatusBadRequest, i.click(url.Values{"consent": {id}, "decision": {"maybe"}}).Status)
	require.Equal(t, http.StatusBadRequest, i.click(url.Values{"consent": {"guess"}, "decision": {"deny"}}).Status)
	require.Equal(t, http.StatusSeeOther, i.click(form).Status)
	require.Equal(t, http.StatusBadRequest, i.click(form).Status)
	require.Equal(t, 1, i.Counters().Authorisations)
}

func TestAConsentPageIsNotOpenForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory())
		_, id := i.open(i.request())
		time.Sleep(11 * time.Minute)
		require.Equal(t, http.StatusBadRequest, i.click(url.Values{"consent": {id}, "decision": {"deny"}}).Status)
	})
}

func TestAProgramCanSkipTheConsentPage(t *testing.T) {
	i := start(t, pleotest.WithConsent(pleotest.AutoApprove, "Harbour & Finch Ltd"))
	a := i.do(i.newRequest(http.MethodGet, i.authoriseURL(i.request()), ""))
	require.Equal(t, http.StatusFound, a.Status)
	tokens := i.token(exchange(parse(t, a.Header.Get("Location")).Query().Get("code")))
	require.Equal(t, pleotest.Companies()[1].URN(), i.introspect(tokens.Access).Body["urn:pleo:params:oauth:subject_urn"])

	require.NoError(t, i.SetConsent(pleotest.AutoDeny, ""))
	a = i.do(i.newRequest(http.MethodGet, i.authoriseURL(i.request()), ""))
	require.Equal(t, "access_denied", parse(t, a.Header.Get("Location")).Query().Get("error"))
	require.Error(t, i.SetConsent("perhaps", ""))
	require.Error(t, i.SetConsent(pleotest.AutoApprove, "nobody"))
}

func TestAHeadRequestAuthorisesNothing(t *testing.T) {
	i := start(t, pleotest.WithConsent(pleotest.AutoApprove, ""))
	a := i.do(i.newRequest(http.MethodHead, i.authoriseURL(i.request()), ""))
	require.Equal(t, http.StatusMethodNotAllowed, a.Status)
	require.Zero(t, i.Counters().Authorisations)
}
