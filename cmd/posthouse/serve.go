package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"posthouse/crypto/certs"
	"posthouse/crypto/password"
	"posthouse/delivery"
	"posthouse/directory"
	"posthouse/internal/config"
	"posthouse/internal/dns"
	"posthouse/mail"
)

func newServe() *cobra.Command {
	var file, level string
	c := &cobra.Command{Use: "serve", Short: "Run the server", Args: cobra.NoArgs, Example: "  posthouse serve --config /etc/posthouse/posthouse.toml"}
	c.Flags().StringVar(&file, "config", defaultConfig, "configuration file")
	c.Flags().StringVar(&level, "log", "info", "log level: debug, info, warn or error")
	c.RunE = func(c *cobra.Command, _ []string) error {
		signal.Ignore(syscall.SIGHUP) // until there is something to reload
		log, err := newLog(level)
		if err != nil {
			return err
		}
		conf, err := config.Read(file)
		if err != nil {
			return err
		}
		s, err := fromConfig(c.Context(), conf, log)
		if err != nil {
			return err
		}
		h, err := openHouse(s)
		if err != nil {
			return err
		}
		defer h.reloadOnHangup()()
		return h.run(c.Context(), func() { log.Info("ready", "hostname", h.hostname, "version", version()) })
	}
	return c
}

func newLog(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("%w: --log: %w", errUsage, err)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l})), nil
}

// reloadOnHangup reloads at SIGHUP until the function it returns is called.
func (h *house) reloadOnHangup() (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range hangups {
			if err := h.reload(context.Background()); err != nil {
				h.log.Error("nothing was reloaded", "error", err)
			}
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-done
	}
}

// fromConfig gives a configuration its meaning. Its errors say file, line and fix, as the configuration's own do.
func fromConfig(ctx context.Context, c *config.Config, log *slog.Logger) (settings, error) {
	s := settings{dir: c.DataDir, listeners: c.Listeners, delivery: c.Delivery, limits: c.Limits, mailbox: c.Mailbox, submission: c.Submission, auth: c.Auth, log: log}
	var errs []error
	address := func(key, text string) (a mail.Address) {
		if text == "" {
			return a
		}
		a, err := mail.ParseAddress(text)
		if err != nil {
			errs = append(errs, c.File.Errorf(key, "%v; give one like \"you@example.com\"", err))
		}
		return a
	}
	domain := func(key, text string) string {
		name, err := mail.ParseDomain(text)
		if err != nil {
			errs = append(errs, c.File.Errorf(key, "%v; give one like \"example.com\"", err))
		}
		return name
	}
	s.hostname = domain("hostname", c.Hostname)
	s.postmaster = address("postmaster", c.Postmaster)
	for i, d := range c.Domains {
		key := fmt.Sprintf("domain[%d]", i)
		s.domains = append(s.domains, directory.Domain{Name: domain(key+".name", d.Name), CatchAll: address(key+".catch_all", d.CatchAll)})
	}
	for i, a := range c.Accounts {
		key := fmt.Sprintf("account[%d]", i)
		if err := password.Check(a.PasswordHash); err != nil {
			errs = append(errs, c.File.Errorf(key+".password_hash", "%v; give one like \"$argon2id$v=19$m=19456,t=2,p=1$…$…\"", err))
		}
		s.accounts = append(s.accounts, directory.Declared{Login: address(key+".login", a.Login), Hash: a.PasswordHash})
	}
	for i := range s.listeners {
		for k, name := range s.listeners[i].ETRNDomains {
			s.listeners[i].ETRNDomains[k] = domain(fmt.Sprintf("listener[%d].etrn_domains", i), name)
		}
	}
	for i, r := range c.Routes {
		route, err := toRoute(r)
		if err != nil {
			errs = append(errs, c.File.Errorf(fmt.Sprintf("route[%d]", i), "%v", err))
		}
		s.routes = append(s.routes, route)
	}
	s.admission = toAdmission(c, func(key string, err error) { errs = append(errs, c.File.Errorf(key, "%v", err)) })
	var err error
	if s.users, err = openUsers(c); err != nil {
		errs = append(errs, c.File.Errorf("tls.client_ca_file", "%v", err))
	}
	if s.resolver, err = dns.NewClient(dns.ClientOptions{Servers: c.DNS.Servers}); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return s, errors.Join(errs...)
	}
	s.certs, err = openCerts(ctx, c, log)
	if err != nil {
		return s, c.File.Errorf("tls.mode", "%v", err)
	}
	return s, nil
}

func openCerts(ctx context.Context, c *config.Config, log *slog.Logger) (*certs.Keeper, error) {
	dir, hosts := filepath.Join(c.DataDir, "keys", "tls"), []string{c.Hostname}
	switch c.TLS.Mode {
	case "files":
		return certs.Files(c.TLS.CertFile, c.TLS.KeyFile)
	case "acme":
		return certs.ACME(ctx, certs.ACMEOptions{Dir: dir, Hosts: hosts, Directory: c.TLS.Directory, Email: c.TLS.Email, Log: log})
	}
	return certs.SelfSigned(dir, hosts)
}

func toRoute(r config.Route) (delivery.Route, error) {
	route := delivery.Route{Match: r.Match, Sender: r.Sender, Via: r.Via, Without: r.Without}
	if err := route.Check(); err != nil || r.CredentialsFile == "" {
		return route, err
	}
	f, err := os.Open(r.CredentialsFile)
	if err != nil {
		return route, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Scan()
	user, secret, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":")
	if !ok || lines.Err() != nil {
		return route, fmt.Errorf("%s: its first line is not \"user:password\"", r.CredentialsFile)
	}
	route.Username, route.Password = user, secret
	return route, nil
}
