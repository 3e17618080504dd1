package pleotest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func (e *Emulator) apiRoutes() http.Handler {
	mux := http.NewServeMux()
	jobs, changeJobs := []string{"export-jobs:read", "export:read"}, []string{"export-jobs:write", "export:write"}

	mux.HandleFunc("GET /v1/introspect", e.getIntrospect)
	mux.HandleFunc("GET /v1/companies", func(w http.ResponseWriter, r *http.Request) {
		sendData(w, r, []Company{callerOf(r).company})
	})
	mux.HandleFunc("GET /v2/employees", needs(func(w http.ResponseWriter, r *http.Request) {
		sendPage(w, r, callerOf(r).company.employees())
	}, "users:read"))
	mux.HandleFunc("GET /v3/export-items", needs(func(w http.ResponseWriter, r *http.Request) {
		sendPage(w, r, callerOf(r).company.exportItems())
	}, "export-items:read", "export:read"))
	mux.HandleFunc("GET /v3/export-jobs", needs(func(w http.ResponseWriter, r *http.Request) {
		sendPage(w, r, e.jobsOf(callerOf(r).company))
	}, jobs...))
	mux.HandleFunc("POST /v3/export-jobs", needs(e.postExportJob, changeJobs...))
	mux.HandleFunc("GET /v3/export-job-items", needs(func(w http.ResponseWriter, r *http.Request) {
		sendPage(w, r, e.jobItems(callerOf(r).company, r.URL.Query().Get("job_id")))
	}, jobs...))
	mux.HandleFunc("POST /v3/export-job-items:search", needs(e.searchJobItems, jobs...))
	mux.HandleFunc("GET /v0/tag-groups", needs(func(w http.ResponseWriter, r *http.Request) {
		sendData(w, r, callerOf(r).company.tagGroups())
	}, "tags:read", "export:read"))
	mux.HandleFunc("GET /v0/tax-codes:search", needs(func(w http.ResponseWriter, r *http.Request) {
		sendData(w, r, callerOf(r).company.taxCodes())
	}, "tax-codes:read", "export:read"))
	mux.HandleFunc("POST /v1/receipts", receiveBody)
	mux.HandleFunc("PUT /v1/receipts/{id}", receiveBody)
	mux.HandleFunc("GET /v1/receipts/{id}", func(w http.ResponseWriter, r *http.Request) {
		sendData(w, r, receipt{ID: r.PathValue("id"), RawPath: rawPath(r)})
	})
	mux.HandleFunc("DELETE /v1/receipts/{id}", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /v1/export-stream", e.stream)
	mux.HandleFunc("/v1/echo", echo)
	mux.HandleFunc("GET /v1/echo-socket", e.echoSocket)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		(&apiError{http.StatusNotFound, "", "not_found", r.Method + " " + rawPath(r) + " is not there."}).write(w)
	})
	return mux
}

// getIntrospect is the API's own view of a token (Pleo's documentation: API
// reference, external clients).
func (e *Emulator) getIntrospect(w http.ResponseWriter, r *http.Request) {
	c := callerOf(r)
	sendData(w, r, struct {
		AuthMethod      string `json:"authMethod"`
		ClientID        string `json:"clientId"`
		Scope           string `json:"scope"`
		ApplicationName string `json:"applicationName"`
		SubjectURN      string `json:"subjectURN"`
	}{"OAUTH2", c.client.ID, c.scope, c.client.Name, c.company.URN()})
}

func (e *Emulator) jobsOf(c Company) []exportJob {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append(c.exportJobs(), e.jobs[c.ID]...)
}

// maxJSON bounds what the API reads of a JSON body.
const maxJSON = 1 << 20

func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxJSON))
	if err := decoder.Decode(into); err != nil {
		badBody(w, "The body is not the JSON that is wanted.")
		return false
	}
	return true
}

func badBody(w http.ResponseWriter, message string) {
	(&apiError{http.StatusBadRequest, "", "bad_request", message}).write(w)
}

func (e *Emulator) postExportJob(w http.ResponseWriter, r *http.Request) {
	var wanted struct {
		Items []string `json:"exportItemIds"`
	}
	if !readJSON(w, r, &wanted) {
		return
	}
	company := callerOf(r).company
	own := map[string]bool{}
	for _, item := range company.exportItems() {
		own[item.ID] = true
	}
	for _, id := range wanted.Items {
		if !own[id] {
			badBody(w, "There is no export item "+strconv.Quote(id)+".")
			return
		}
	}
	job := exportJob{
		ID: newUUID(), CompanyID: company.ID, Status: "pending", Items: wanted.Items,
		CreatedAt: time.Now().UTC().Truncate(time.Second),
	}
	e.mu.Lock()
	e.jobs[company.ID] = append(e.jobs[company.ID], job)
	e.save()
	e.mu.Unlock()
	writeJSON(w, http.StatusCreated, map[string]any{"data": job})
}

func (e *Emulator) jobItems(c Company, jobID string) []jobItem {
	items := []jobItem{}
	for _, job := range e.jobsOf(c) {
		if jobID != "" && job.ID != jobID {
			continue
		}
		for _, id := range job.Items {
			items = append(items, jobItem{JobID: job.ID, ItemID: id, Status: job.Status})
		}
	}
	return items
}

func (e *Emulator) searchJobItems(w http.ResponseWriter, r *http.Request) {
	var wanted struct {
		JobID  string `json:"jobId"`
		Status string `json:"status"`
	}
	if !readJSON(w, r, &wanted) {
		return
	}
	found := []jobItem{}
	for _, item := range e.jobItems(callerOf(r).company, wanted.JobID) {
		if wanted.Status == "" || wanted.Status == item.Status {
			found = append(found, item)
		}
	}
	sendPage(w, r, found)
}

func sendData(w http.ResponseWriter, r *http.Request, data any) {
	send(w, r, map[string]any{"data": data})
}

// send answers with JSON and an ETag, or with 304 if the caller has it already
// (RFC 9110 section 13.1.2).
func send(w http.ResponseWriter, r *http.Request, body any) {
	var encoded bytes.Buffer
	if err := json.NewEncoder(&encoded).Encode(body); err != nil {
		http.Error(w, "the answer cannot be encoded", http.StatusInternalServerError)
		return
	}
	sum := sha256.Sum256(encoded.Bytes())
	tag := fmt.Sprintf(`"%x"`, sum[:8])
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "private, no-cache")
	if r.Method != http.MethodPost && matches(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(encoded.Len()))
	_, _ = w.Write(encoded.Bytes())
}

func matches(condition, tag string) bool {
	for candidate := range strings.SplitSeq(condition, ",") {
		candidate = strings.TrimSpace(candidate)
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == tag {
			return true
		}
	}
	return false
}
