package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"posthouse/delivery/scheduled"
	"posthouse/httpd/admin"
	"posthouse/httpd/health"
	"posthouse/imapd"
	"posthouse/internal/config"
	"posthouse/mail"
	"posthouse/mta"
	"posthouse/pop3d"
)

// Time limits of HTTP.
const (
	httpHeaderTime = 10 * time.Second
	httpReadTime   = time.Minute
	httpWriteTime  = time.Minute
	httpIdleTime   = 2 * time.Minute
)

// door is one listener with the server behind it.
type door struct {
	name       string // protocol and address, for logs
	protocol   string
	addr       net.Addr
	mta        *mta.Metrics // of a listener that takes mail
	serve      func() error
	shutdown   func(context.Context) error
	disconnect func(mail.AccountID) // ends the sessions of an account; nil: there are none
}

// openDoors opens every listener; if one cannot be, none is.
func (h *house) openDoors() error {
	for _, l := range h.listeners {
		listener, err := net.Listen("tcp", l.Address.String())
		if err != nil {
			return fmt.Errorf("listener %s: %w", l.Protocol, err)
		}
		h.onClose(func() error { return ignoreClosed(listener.Close()) })
		d, err := h.openDoor(l, behindProxy(listener, l.ProxyProtocolFrom))
		if err != nil {
			return fmt.Errorf("listener %s on %s: %w", l.Protocol, l.Address, err)
		}
		d.protocol, d.addr, d.name = l.Protocol, listener.Addr(), l.Protocol+" "+listener.Addr().String()
		h.doors = append(h.doors, d)
	}
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (h *house) openDoor(l config.Listener, listener net.Listener) (door, error) {
	switch l.Protocol {
	case "imap", "pop3":
		return h.readerDoor(l, listener), nil
	case "imaps", "pop3s":
		return h.readerDoor(l, tls.NewListener(listener, h.doorTLS(l.Protocol))), nil
	case "http":
		return httpDoor(listener, h.public(), httpWriteTime), nil
	case "https":
		return httpDoor(tls.NewListener(listener, h.certs.Config()), h.public(), httpWriteTime), nil
	}
	kind, ok := map[string]mta.Kind{"smtp": mta.MX, "submission": mta.Submission, "submissions": mta.Submissions, "lmtp": mta.LMTP}[l.Protocol]
	if !ok {
		return door{}, errors.New("unknown protocol")
	}
	s, err := mta.NewServer(h.mtaOptions(kind, l))
	if err != nil {
		return door{}, err
	}
	d := lineDoor(s, listener)
	d.mta = s.Metrics()
	return d, nil
}

// lineServer serves a line protocol.
type lineServer interface {
	Serve(l net.Listener) error
	Shutdown(ctx context.Context) error
	Disconnect(id mail.AccountID)
}

func lineDoor(s lineServer, l net.Listener) door {
	return door{serve: func() error { return s.Serve(l) }, shutdown: s.Shutdown, disconnect: s.Disconnect}
}

// readers are the kinds of servers by which users read their mail.
type readers struct {
	protocol  string
	plaintext bool // passwords pass without TLS
}

// readerDoor gives the listener to the one server there is of its kind, so that an account's limits count over all of them.
func (h *house) readerDoor(l config.Listener, listener net.Listener) door {
	kind := readers{strings.TrimSuffix(l.Protocol, "s"), l.AllowPlaintextAuth}
	s := h.readers[kind]
	if s == nil {
		s = map[string]func(config.Listener) lineServer{"imap": h.newIMAP, "pop3": h.newPOP3}[kind.protocol](l)
		h.readers[kind] = s
	}
	return lineDoor(s, listener)
}

func (h *house) newIMAP(l config.Listener) lineServer {
	return imapd.NewServer(imapd.Options{
		Hostname: h.hostname, Store: h.store, Auth: h.authority, Sharing: h.directory, TLS: h.doorTLS(l.Protocol), AllowPlaintextAuth: l.AllowPlaintextAuth,
		Limits: imapd.Limits{
			MessageSize: h.limits.MessageSize, CommandMessages: h.limits.CommandMessages, SavedMessages: h.limits.SavedMessages,
		},
		Log: h.log, Observe: h.observe("imap"),
		Extra: &imapd.Extra{Name: scheduled.Name, Rights: scheduled.Rights, Open: h.scheduled.Account},
	})
}

func (h *house) newPOP3(l config.Listener) lineServer {
	return pop3d.NewServer(pop3d.Options{
		Hostname: h.hostname, Store: h.store, Auth: h.authority, TLS: h.doorTLS(l.Protocol), AllowPlaintextAuth: l.AllowPlaintextAuth,
		Log: h.log, Observe: h.observe("pop3"),
	})
}

// public is what everybody may ask over HTTP.
func (h *house) public() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", h.metrics.Handler())
	mux.Handle("/", health.New(h.ready))
	return mux
}

// httpDoor serves HTTP; writeTime bounds an answer's writing, 0: it may take its time.
func httpDoor(l net.Listener, handler http.Handler, writeTime time.Duration) door {
	s := &http.Server{
		Handler: handler, ReadHeaderTimeout: httpHeaderTime, ReadTimeout: httpReadTime, WriteTimeout: writeTime, IdleTimeout: httpIdleTime,
	}
	return door{shutdown: s.Shutdown, serve: func() error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}}
}

// openControl opens the control socket. The lock is ours, so one that lies there is nobody's.
func (h *house) openControl() error {
	path := filepath.Join(h.dir, socketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	h.onClose(func() error { return ignoreClosed(l.Close()) })
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	d := httpDoor(l, admin.New(admin.Options{
		Spool: h.spool, Directory: h.directory, Store: h.store, Disconnect: h.disconnect, Reload: h.reload, Verify: h.verify, Zone: h.zone,
		Bans: admin.Bans{All: h.bans, Lift: h.clients.Lift}, Extensions: imapd.Optional(), Version: version(), Log: h.log,
	}), 0) // a list of a million messages is as long as it is, for whoever runs the server
	d.name, d.protocol, d.addr = "control "+path, "control", l.Addr()
	h.doors = append(h.doors, d)
	return nil
}
