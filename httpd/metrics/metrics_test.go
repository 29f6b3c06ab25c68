package metrics

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestMetrics(t *testing.T) {
	r := New()
	depth := 7.0
	r.Add(Family{Name: "queue_recipients", Help: "Depth.", Labels: []string{"state"}, Read: func(emit func(float64, ...string)) {
		emit(depth, "ready")
		emit(1, "held")
	}})
	r.Count("commands_total", "Commands.", "name")("NOOP")
	r.Timing("attempt_seconds", "Attempts.")(20 * time.Millisecond)
	get := func() string {
		w := httptest.NewRecorder()
		r.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return w.Body.String()
	}
	first := get()
	for _, want := range []string{
		`posthouse_queue_recipients{state="ready"} 7`, `posthouse_queue_recipients{state="held"} 1`, `posthouse_commands_total{name="NOOP"} 1`,
		`posthouse_attempt_seconds_bucket{le="0.01"} 0`, `posthouse_attempt_seconds_bucket{le="0.03"} 1`, "process_resident_memory_bytes", "go_goroutines",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("no %s in\n%s", want, first)
		}
	}
	depth = 8
	if !strings.Contains(get(), `{state="ready"} 8`) {
		t.Error("the number is not read anew")
	}
}
