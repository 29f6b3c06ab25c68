package health

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHealth(t *testing.T) {
	var why error
	h := New(func() error { return why })
	status := func(path string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code
	}
	if status("/healthz") != 200 || status("/readyz") != 200 || status("/") != 404 {
		t.Error("a server that is well says otherwise")
	}
	why = errors.New("the disk failed")
	if status("/healthz") != 200 || status("/readyz") != 503 {
		t.Error("a server that takes no mail must be alive and not ready")
	}
}
