package imapd

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"

	"posthouse/directory/sasl"
	"posthouse/internal/link"
	"posthouse/mail"
	"posthouse/mailbox"
)

// Options are what a server is made of.
type Options struct {
	Hostname string // of the greeting
	Store    mailbox.Store
	Auth     *sasl.Authenticator // lets accounts in; shared with the other fronts of a house
	Sharing  sharing             // who shares mailboxes with whom: a directory.Directory. Nil: nobody does
	Extra    *Extra              // nil: none
	// TLS is offered by STARTTLS. Nil: it is not. Listeners of implicit TLS bring their own.
	TLS *tls.Config
	// AllowPlaintextAuth takes passwords without TLS: on loopback, for development.
	AllowPlaintextAuth bool
	Limits             Limits
	Log                *slog.Logger // nil: nothing is logged
	Observe            link.Observer
}

// Server serves IMAP on any number of listeners.
type Server struct {
	opts  Options
	table *table
	hub   *link.Hub[mail.AccountID]
}

// NewServer makes a server.
func NewServer(o Options) *Server {
	o.Limits = o.Limits.withDefaults()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{opts: o, table: newTable(extensions(&o.Limits))}
	s.hub = link.NewHub[mail.AccountID](link.Options{
		Limits: link.Limits{Sessions: o.Limits.Sessions, PerNetwork: o.Limits.SessionsPerNetwork, PerUser: o.Limits.SessionsPerAccount},
		Times:  o.Limits.times(),
		Session: func(ctx context.Context, l *link.Link) link.Rest {
			session := newSession(s, l)
			return session.serve(ctx, session.welcome)
		},
		Refusal: turnedAway, Observe: o.Observe, Log: o.Log,
	})
	return s
}

// Serve accepts connections until Shutdown, and then returns nil. A listener of implicit TLS is one of package tls.
func (s *Server) Serve(l net.Listener) error { return s.hub.Serve(l) }

// Disconnect ends the sessions of an account after the commands they run: it was disabled or removed.
func (s *Server) Disconnect(id mail.AccountID) { s.hub.Disconnect(id) }

// Shutdown ends the sessions after the commands they run, and waits for them; when ctx ends it cuts off those that are left.
func (s *Server) Shutdown(ctx context.Context) error { return s.hub.Shutdown(ctx) }
