// Package admin is the one API for running the server: HTTP and JSON, spoken by the commands over the unix socket DATA_DIR/control.sock.
// Who can open the socket may do everything.
//
// It must not know storage files or SMTP sessions: it acts on the ports of spool, directory and mailbox.
//
// The flow: a route's handler decodes the request, calls one method of an owner, and returns a value; serve writes it, as one JSON
// document, as one per line for what may be long (application/x-ndjson), or as the error that reply.go makes of a sentinel.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mailbox"
	"posthouse/spool"
)

// Limits of a request.
const (
	maxBody    = 1 << 20
	maxStories = 1000
)

// ContentNDJSON is the type of a list: one JSON document in each line. A line {"error": "…"} ends a list that could not be finished.
const ContentNDJSON = "application/x-ndjson"

// Options are what the API acts on.
type Options struct {
	Spool     spool.Spool
	Directory directory.Directory
	Store     mailbox.Store
	// Disconnect ends the open sessions of an account. nil: there are none.
	Disconnect func(mail.AccountID)
	// Reload reads certificates anew. nil: there is nothing to reload.
	Reload func(context.Context) error
	// Verify looks for damage in everything that is stored. nil: there is nothing to look at.
	Verify func(context.Context) iter.Seq2[Trouble, error]
	// Zone are the DNS records to publish, as zone text. nil: there are none.
	Zone func() (string, error)
	Bans Bans
	// Extensions are the extensions of IMAP that an account may be without.
	Extensions []string
	Version    string
	Log        *slog.Logger // nil: none
}

type api struct{ Options }

// handler answers a request with a value to be written as JSON: a list, a mail.Content, or anything else as one document.
type handler func(*http.Request) (any, error)

// list is what may be long; each value is written as it comes.
type list = iter.Seq2[any, error]

// New makes the handler.
func New(o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &api{o}
	mux := http.NewServeMux()
	for pattern, h := range map[string]handler{
		"GET /v1/version":                                a.version,
		"GET /v1/verify":                                 a.verify,
		"POST /v1/reload":                                a.reload,
		"GET /v1/dns":                                    a.dns,
		"GET /v1/queue":                                  a.queue,
		"GET /v1/queue/stats":                            a.queueStats,
		"GET /v1/queue/{id}":                             a.queueShow,
		"GET /v1/queue/{id}/content":                     a.queueContent,
		"POST /v1/queue/change/{verb}":                   a.queueChange,
		"GET /v1/bans":                                   a.bans,
		"DELETE /v1/bans":                                a.liftBan,
		"GET /v1/trace":                                  a.trace,
		"GET /v1/domains":                                a.domains,
		"POST /v1/domains":                               a.addDomain,
		"DELETE /v1/domains/{name}":                      a.removeDomain,
		"GET /v1/accounts":                               a.accounts,
		"POST /v1/accounts":                              a.addAccount,
		"GET /v1/accounts/{login}":                       a.account,
		"PUT /v1/accounts/{login}/password":              a.setPassword,
		"POST /v1/accounts/{login}/{switch}":             a.switchAccount,
		"DELETE /v1/accounts/{login}":                    a.removeAccount,
		"GET /v1/accounts/{login}/app-passwords":         a.appPasswords,
		"POST /v1/accounts/{login}/app-passwords":        a.addAppPassword,
		"DELETE /v1/accounts/{login}/app-passwords/{id}": a.revokeAppPassword,
		"GET /v1/accounts/{login}/shares":                a.shares,
		"POST /v1/accounts/{login}/shares":               a.share,
		"DELETE /v1/accounts/{login}/shares/{with}":      a.unshare,
		"GET /v1/accounts/{login}/limits":                a.spent,
		"PUT /v1/accounts/{login}/quota":                 a.setQuota,
		"PUT /v1/accounts/{login}/without":               a.setWithout,
		"PUT /v1/accounts/{login}/limits":                a.setAllowance,
		"GET /v1/accounts/{login}/expunged":              a.expunged,
		"DELETE /v1/accounts/{login}/expunged":           a.purge,
		"POST /v1/accounts/{login}/expunged/restore":     a.restore,
		"GET /v1/suppressions":                           a.suppressions,
		"POST /v1/suppressions":                          a.suppress,
		"DELETE /v1/suppressions/{address}":              a.unsuppress,
		"GET /v1/aliases":                                a.aliases,
		"POST /v1/aliases":                               a.addAlias,
		"DELETE /v1/aliases/{address}/{target}":          a.removeAlias,
	} {
		mux.Handle(pattern, a.serve(h))
	}
	return mux
}

// serve runs a handler and writes what it returns; the only place that writes.
func (a *api) serve(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		v, err := h(r)
		if err == nil {
			err = write(w, v)
		}
		if err == nil {
			return
		}
		status, text := reply(err)
		if status == http.StatusInternalServerError {
			a.Log.ErrorContext(r.Context(), "admin request failed", "path", r.URL.Path, "error", err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status) // without effect if a list broke off: its last line says so
		json.NewEncoder(w).Encode(Error{text})
	})
}

// Error is the body of every answer that is not 2xx.
type Error struct {
	Error string `json:"error"`
}

func write(w http.ResponseWriter, v any) error {
	switch v := v.(type) {
	case list:
		w.Header().Set("Content-Type", ContentNDJSON)
		out := json.NewEncoder(w)
		for item, err := range v {
			if err != nil {
				return err
			}
			if err := out.Encode(item); err != nil {
				return err
			}
		}
		return nil
	case mail.Content:
		defer v.Close()
		w.Header().Set("Content-Type", "message/rfc822")
		w.Header().Set("Content-Length", strconv.FormatInt(v.Size(), 10))
		_, err := io.Copy(w, io.NewSectionReader(v, 0, v.Size()))
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

// many makes a list of a sequence of values.
func many[T any](seq iter.Seq2[T, error]) (any, error) {
	return list(func(yield func(any, error) bool) {
		for v, err := range seq {
			if !yield(v, err) || err != nil {
				return
			}
		}
	}), nil
}

// decode reads the request's JSON document, strictly.
func decode(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	return nil
}

// about decodes what is said of the account in the path, and tells which that is.
func about(r *http.Request, v any) (mail.Address, error) {
	if err := decode(r, v); err != nil {
		return mail.Address{}, err
	}
	return login(r)
}

var errRequest = errors.New("malformed request")

type done struct{}

func (a *api) version(*http.Request) (any, error) {
	return map[string]string{"version": a.Version}, nil
}

func (a *api) reload(r *http.Request) (any, error) {
	if a.Reload == nil {
		return done{}, nil
	}
	return done{}, a.Reload(r.Context())
}

// Trouble is one thing in a store that is not as it was written.
type Trouble struct {
	Store   string `json:"store"` // spool, directory or accounts
	Trouble string `json:"trouble"`
}

func (a *api) verify(r *http.Request) (any, error) {
	if a.Verify == nil {
		return list(func(func(any, error) bool) {}), nil
	}
	return many(a.Verify(r.Context()))
}

func (a *api) dns(*http.Request) (any, error) {
	var zone string
	var err error
	if a.Zone != nil {
		zone, err = a.Zone()
	}
	return map[string]string{"zone": zone}, err
}

// Changed is the answer to a change of the queue.
type Changed struct {
	Recipients int `json:"recipients"`
}

// Filter is spool.Filter as the API takes it.
type Filter struct {
	ID          string   `json:"id,omitempty"`
	States      []string `json:"states,omitempty"`
	To          string   `json:"to,omitempty"`
	From        string   `json:"from,omitempty"`
	Destination string   `json:"destination,omitempty"`
	Older       string   `json:"older,omitempty"` // a duration, "2h"
	Error       string   `json:"error,omitempty"`
	Limit       int      `json:"limit,omitempty"`
}

func (f Filter) parse() (out spool.Filter, err error) {
	out = spool.Filter{To: f.To, From: f.From, Destination: f.Destination, Reply: f.Error, Limit: f.Limit}
	if f.ID != "" {
		if out.ID, err = mail.ParseID(f.ID); err != nil {
			return out, err
		}
	}
	for _, s := range f.States {
		var state spool.State
		if err := state.UnmarshalText([]byte(s)); err != nil {
			return out, fmt.Errorf("%w: %w", errRequest, err)
		}
		out.States = append(out.States, state)
	}
	if f.Older != "" {
		if out.Older, err = time.ParseDuration(f.Older); err != nil {
			return out, fmt.Errorf("%w: %w", errRequest, err)
		}
	}
	return out, nil
}

func (a *api) queue(r *http.Request) (any, error) {
	q := r.URL.Query()
	f := Filter{To: q.Get("to"), From: q.Get("from"), Destination: q.Get("destination"), Older: q.Get("older"), Error: q.Get("error"), States: q["state"]}
	f.Limit, _ = strconv.Atoi(q.Get("limit"))
	filter, err := f.parse()
	if err != nil {
		return nil, err
	}
	return many(a.Spool.List(r.Context(), filter))
}

func (a *api) queueStats(r *http.Request) (any, error) {
	return a.Spool.Stats(r.Context(), 1000)
}

func (a *api) queueShow(r *http.Request) (any, error) {
	id, err := mail.ParseID(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return a.Spool.Show(r.Context(), id)
}

func (a *api) queueContent(r *http.Request) (any, error) {
	id, err := mail.ParseID(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return a.Spool.Open(r.Context(), id)
}

// changes are the operator's verbs.
func changes() map[string]spool.Change {
	return map[string]spool.Change{"retry": spool.RetryNow, "hold": spool.Hold, "release": spool.Release, "drop": spool.Drop}
}

func (a *api) queueChange(r *http.Request) (any, error) {
	change, ok := changes()[r.PathValue("verb")]
	if !ok {
		return nil, fmt.Errorf("%w: no verb %q", errRequest, r.PathValue("verb"))
	}
	var f Filter
	if err := decode(r, &f); err != nil {
		return nil, err
	}
	filter, err := f.parse()
	if err != nil {
		return nil, err
	}
	n, err := a.Spool.Change(r.Context(), filter, change)
	return Changed{n}, err
}

// trace takes id=, address= or message_id=.
func (a *api) trace(r *http.Request) (any, error) {
	q, get := spool.Query{Limit: maxStories}, r.URL.Query().Get
	var err error
	switch {
	case get("id") != "":
		q.ID, err = mail.ParseID(get("id"))
	case get("address") != "":
		q.Address, err = mail.ParseAddress(get("address"))
	case get("message_id") != "":
		q.MessageID = get("message_id")
	default:
		err = fmt.Errorf("%w: give id, address or message_id", errRequest)
	}
	if err != nil {
		return nil, err
	}
	return many(a.Spool.Trace(r.Context(), q))
}
