package pleotest_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// issued is an integration with tokens for one company.
func issued(t *testing.T, company string, options ...pleotest.Option) (*integration, string) {
	t.Helper()
	i := start(t, options...)
	a, err := i.Issue("", company, "")
	require.NoError(t, err)
	return i, a.AccessToken
}

func (i *integration) send(method, path, token string, body io.Reader, header ...string) answer {
	i.t.Helper()
	r, err := http.NewRequestWithContext(i.t.Context(), method, i.APIURL+path, body)
	require.NoError(i.t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	for n := 0; n < len(header); n += 2 {
		r.Header.Set(header[n], header[n+1])
	}
	return i.do(r)
}

func (i *integration) data(a answer) object {
	i.t.Helper()
	return as[object](i.t, a.Body["data"])
}

func (i *integration) list(a answer) []object {
	i.t.Helper()
	data := as[[]any](i.t, a.Body["data"])
	items := make([]object, len(data))
	for n, item := range data {
		items[n] = as[object](i.t, item)
	}
	return items
}

func TestEveryListBelongsToTheTokensCompanyAlone(t *testing.T) {
	i := start(t)
	owner := map[any]string{}
	for _, company := range pleotest.Companies() {
		a, err := i.Issue("", company.ID, "")
		require.NoError(t, err)
		for _, path := range []string{
			"/v1/companies", "/v2/employees", "/v3/export-items?limit=500", "/v3/export-jobs", "/v0/tag-groups",
			"/v0/tax-codes:search",
		} {
			got := i.call(a.AccessToken, path)
			require.Equal(t, http.StatusOK, got.Status, path)
			require.NotEmpty(t, i.list(got), path)
			for _, item := range i.list(got) {
				if path != "/v1/companies" {
					require.Equal(t, company.ID, item["companyId"], path)
				}
				require.NotContains(t, owner, item["id"], path)
				owner[item["id"]] = company.ID
			}
			require.Equal(t, got.Raw, i.call(a.AccessToken, path).Raw, "the same in every run")
		}
	}
}

func TestTheAPIsOwnViewOfAToken(t *testing.T) {
	i := start(t)
	a, err := i.Issue("", "", "users:read")
	require.NoError(t, err)
	require.Equal(t, map[string]any{
		"authMethod": "OAUTH2", "clientId": i.ClientID, "scope": "users:read", "applicationName": "Acme Expenses",
		"subjectURN": pleotest.Companies()[0].URN(),
	}, i.data(i.call(a.AccessToken, "/v1/introspect")))
}

func TestPagesJoinToTheWhole(t *testing.T) {
	i, token := issued(t, "")
	seen := map[any]bool{}
	query, pages := url.Values{"limit": {"50"}}, 0
	for {
		a := i.call(token, "/v3/export-items?"+query.Encode())
		for _, item := range i.list(a) {
			seen[item["id"]] = true
		}
		pages++
		page := as[object](t, a.Body["pagination"])
		if page["hasNextPage"] == false {
			require.Len(t, seen, number(t, page["total"]))
			query.Set("before", as[string](t, page["startCursor"]))
			break
		}
		query.Set("after", as[string](t, page["endCursor"]))
	}
	require.Len(t, seen, 320)
	require.Equal(t, 7, pages)
	query.Del("after")
	require.Len(t, i.list(i.call(token, "/v3/export-items?"+query.Encode())), 50, "backwards")
	for _, bad := range []string{"limit=0", "limit=x", "limit=501", "after=x", "after=x&before=y", "before=MQ"} {
		require.Equal(t, http.StatusBadRequest, i.call(token, "/v2/employees?"+bad).Status, bad)
	}
}

func TestExportJobsAreMadeAndFound(t *testing.T) {
	i, token := issued(t, "")
	item := as[string](t, i.list(i.call(token, "/v3/export-items?limit=1"))[0]["id"])
	before := len(i.list(i.call(token, "/v3/export-jobs")))
	a := i.send(http.MethodPost, "/v3/export-jobs", token, strings.NewReader(`{"exportItemIds":["`+item+`"]}`))
	require.Equal(t, http.StatusCreated, a.Status)
	require.Len(t, i.list(i.call(token, "/v3/export-jobs")), before+1)
	job := as[string](t, i.data(a)["id"])
	require.Len(t, i.list(i.call(token, "/v3/export-job-items?job_id="+job)), 1)
	found := i.send(http.MethodPost, "/v3/export-job-items:search", token, strings.NewReader(`{"jobId":"`+job+`"}`))
	require.Equal(t, item, i.list(found)[0]["exportItemId"])
	other, err := i.Issue("", pleotest.Companies()[1].ID, "")
	require.NoError(t, err)
	require.Len(t, i.list(i.call(other.AccessToken, "/v3/export-jobs")), before)
	require.Equal(t, http.StatusBadRequest, i.send(http.MethodPost, "/v3/export-jobs", other.AccessToken,
		strings.NewReader(`{"exportItemIds":["`+item+`"]}`)).Status)
	require.Equal(t, http.StatusBadRequest, i.send(http.MethodPost, "/v3/export-jobs", token, strings.NewReader(`{`)).Status)
}

func TestAnUploadIsReadToItsEnd(t *testing.T) {
	i, token := issued(t, "")
	body := bytes.Repeat([]byte("receipt "), 700_000)
	sum := sha256.Sum256(body)
	for method, path := range map[string]string{http.MethodPost: "/v1/receipts", http.MethodPut: "/v1/receipts/7"} {
		a := i.send(method, path, token, bytes.NewReader(body), "Content-Type", "application/pdf")
		require.Less(t, a.Status, 300)
		require.Len(t, body, number(t, i.data(a)["size"]))
		require.Equal(t, hex.EncodeToString(sum[:]), i.data(a)["sha256"])
		require.Equal(t, "application/pdf", i.data(a)["contentType"])
	}
	require.Equal(t, http.StatusNoContent, i.send(http.MethodDelete, "/v1/receipts/7", token, nil).Status)
}

func TestAnEscapedPathArrivesAsItWasSent(t *testing.T) {
	i, token := issued(t, "")
	a := i.call(token, "/v1/receipts/2025%2F03:%c3%a9?x=1")
	require.Equal(t, "2025/03:é", i.data(a)["id"])
	require.Equal(t, "/v1/receipts/2025%2F03:%c3%a9", i.data(a)["rawPath"])
}

func TestAnETagSavesTheSecondAnswer(t *testing.T) {
	i, token := issued(t, "")
	a := i.call(token, "/v2/employees")
	tag := a.Header.Get("ETag")
	require.NotEmpty(t, tag)
	again := i.send(http.MethodGet, "/v2/employees", token, nil, "If-None-Match", `"x", W/`+tag)
	require.Equal(t, http.StatusNotModified, again.Status)
	require.Empty(t, again.Raw)
	require.Equal(t, http.StatusOK, i.send(http.MethodGet, "/v2/employees", token, nil, "If-None-Match", `"x"`).Status)
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	i, token := issued(t, "")
	head, get := i.send(http.MethodHead, "/v2/employees", token, nil), i.call(token, "/v2/employees")
	require.Equal(t, http.StatusOK, head.Status)
	require.Empty(t, head.Raw)
	require.Equal(t, get.Header.Get("ETag"), head.Header.Get("ETag"))
	require.Equal(t, fmt.Sprint(len(get.Raw)), head.Header.Get("Content-Length"))
	require.Empty(t, i.send(http.MethodHead, "/v1/export-stream", token, nil).Raw)
}

func TestAStreamSendsItsFirstRowAtOnceAndARowEachInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, token := issued(t, "", pleotest.WithInMemory())
		r := i.newRequest(http.MethodGet, i.APIURL+"/v1/export-stream?rows=3&interval=1h", "")
		r.Header.Set("Authorization", "Bearer "+token)
		began := time.Now()
		response, err := i.http.Do(r)
		require.NoError(t, err)
		defer func() { _ = response.Body.Close() }()
		rows := bufio.NewScanner(response.Body)
		for n := range 3 {
			require.True(t, rows.Scan())
			require.Equal(t, time.Duration(n)*time.Hour, time.Since(began))
			var row struct{ Row int }
			require.NoError(t, json.Unmarshal(rows.Bytes(), &row))
			require.Equal(t, n+1, row.Row)
		}
		require.False(t, rows.Scan())
		require.Equal(t, "3", response.Trailer.Get("Pleo-Row-Count"))
	})
}

func TestEchoShowsWhatArrivedButNotTheToken(t *testing.T) {
	i, token := issued(t, "Harbour & Finch Ltd")
	a := i.send(http.MethodPatch, "/v1/echo?a=b%20c", token, strings.NewReader("hello"), "X-Thing", "one")
	got := i.data(a)
	require.Equal(t, "PATCH", got["method"])
	require.Equal(t, "/v1/echo", got["rawPath"])
	require.Equal(t, "a=b%20c", got["rawQuery"])
	require.Equal(t, "hello", got["body"])
	header := as[object](t, got["header"])
	require.Equal(t, []any{"one"}, header["X-Thing"])
	require.Equal(t, []any{"Bearer Harbour & Finch Ltd"}, header["Authorization"])
	require.NotContains(t, a.Raw, token)
}
