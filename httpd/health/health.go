// Package health answers whether the server is alive (/healthz) and whether it takes mail (/readyz), for whoever starts and watches it.
//
// It knows no part of the server: whether it is ready is a function handed in.
package health

import (
	"io"
	"net/http"
)

// New makes the handler; ready is nil while the server takes mail, else why it does not.
func New(ready func() error) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, "not accepting mail", http.StatusServiceUnavailable) // why is in the log: this may be public
			return
		}
		io.WriteString(w, "ok\n")
	})
	return mux
}
