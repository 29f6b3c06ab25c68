package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"posthouse/crypto/certs"
	"posthouse/directory"
	"posthouse/internal/config"
	"posthouse/internal/dns"
	"posthouse/mail"
)

// devHouse is one of the two houses of posthouse dev. Its ports are base + the usual ones.
type devHouse struct {
	name     string // "north": the domain is north.test, the host mail.north.test
	base     uint16 // 1000: SMTP is on 1025
	accounts []string
}

func devHouses() []devHouse {
	return []devHouse{
		{"north", 1000, []string{"alice", "carol"}},
		{"south", 2000, []string{"bob", "dave"}},
	}
}

func (d devHouse) domain() string { return d.name + ".test" }
func (d devHouse) host() string   { return "mail." + d.domain() }

// devPorts are the ports of a house without its base, in the order in which they are shown.
func devPorts() []struct {
	protocol string
	port     uint16
} {
	return []struct {
		protocol string
		port     uint16
	}{{"smtp", 25}, {"submission", 587}, {"submissions", 465}, {"lmtp", 24}, {"imap", 143}, {"imaps", 993}, {"pop3", 110}, {"pop3s", 995}, {"http", 80}}
}

const devPassword = "posthouse"

// dev is posthouse dev: two houses in one process that send each other mail as two organisations on the internet would, on loopback.
type dev struct {
	dir      string
	password string
	listen   func(d devHouse, port uint16) netip.AddrPort // where a port of a house is
	retry    []time.Duration
	log      *slog.Logger

	zone   *dns.Zone
	ca     *certs.CA
	houses []*house
}

func newDev() *cobra.Command {
	d := dev{retry: []time.Duration{5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute}}
	var reset bool
	var level string
	c := &cobra.Command{Use: "dev", Short: "Run a complete mail system on loopback: two houses, no configuration", Args: cobra.NoArgs, Example: "  posthouse dev --dir /tmp/try"}
	c.Flags().StringVar(&d.dir, "dir", "posthouse-dev", "where everything is kept")
	c.Flags().StringVar(&d.password, "password", devPassword, "password of every account")
	c.Flags().BoolVar(&reset, "reset", false, "begin with nothing")
	c.Flags().StringVar(&level, "log", "warn", "log level: debug, info, warn or error")
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		if d.log, err = newLog(level); err != nil {
			return err
		}
		d.listen = usualPorts(c.ErrOrStderr())
		if reset {
			if err := d.reset(); err != nil {
				return err
			}
		}
		if err := d.open(c.Context()); err != nil {
			return err
		}
		return d.run(c.Context(), func() { d.welcome(c.OutOrStdout()) })
	}
	return c
}

// usualPorts puts every port where it is documented to be. One that another program has is moved to a free one, and said.
func usualPorts(complain io.Writer) func(devHouse, uint16) netip.AddrPort {
	chosen := map[uint16]netip.AddrPort{}
	return func(h devHouse, port uint16) netip.AddrPort {
		port += h.base
		if at, ok := chosen[port]; ok {
			return at
		}
		usual := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
		at, err := tryPort(usual)
		if errors.Is(err, syscall.EADDRINUSE) {
			if at, err = tryPort(netip.AddrPortFrom(usual.Addr(), 0)); err == nil {
				fmt.Fprintf(complain, "posthouse: %s is another program's; using %s instead\n", usual, at)
			}
		}
		if err != nil {
			at = usual // opening it will say what is wrong
		}
		chosen[port] = at
		return at
	}
}

// tryPort opens a port for a moment, and tells which it was.
func tryPort(at netip.AddrPort) (netip.AddrPort, error) {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return netip.AddrPort{}, err
	}
	return l.Addr().(*net.TCPAddr).AddrPort(), l.Close()
}

// reset removes what dev made, and nothing else that may lie in the folder; nothing at all while a house there is running.
func (d *dev) reset() error {
	names := []string{"ca", "ca.pem"}
	for _, one := range devHouses() {
		names = append(names, one.name)
		f, err := lock(filepath.Join(d.dir, one.name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		defer f.Close()
	}
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(d.dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// open builds both houses and the part of DNS that they see.
func (d *dev) open(ctx context.Context) (err error) {
	if d.dir, err = filepath.Abs(d.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	if d.ca, err = certs.OpenCA(filepath.Join(d.dir, "ca"), filepath.Join(d.dir, "ca.pem")); err != nil {
		return err
	}
	if d.zone, err = dns.ParseZone(""); err != nil {
		return err
	}
	for i, one := range devHouses() {
		if err = d.openHouse(ctx, one, devHouses()[1-i]); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", one.name, err), d.close())
		}
	}
	return nil
}

func (d *dev) close() error {
	var errs []error
	for _, h := range d.houses {
		errs = append(errs, h.close())
	}
	return errors.Join(errs...)
}

func (d *dev) openHouse(ctx context.Context, one, other devHouse) error {
	dir := filepath.Join(d.dir, one.name)
	keeper, err := d.ca.Keeper(filepath.Join(dir, "keys", "tls"), []string{one.host(), one.domain(), "localhost", "127.0.0.1"})
	if err != nil {
		return err
	}
	defaults, err := config.Parse("defaults", fmt.Sprintf("hostname = %q\ndata_dir = %q\n", one.host(), dir))
	if err != nil {
		return err
	}
	s := settings{
		hostname: one.host(), dir: dir, certs: keeper, resolver: d.zone, domains: []directory.Domain{{Name: one.domain()}},
		delivery: defaults.Delivery, limits: defaults.Limits, mailbox: defaults.Mailbox, log: d.log.With("house", one.name),
	}
	s.delivery.Port = d.listen(other, 25).Port()
	s.delivery.Retry = d.retry
	s.limits.MessagesPerDay, s.limits.RecipientsPerDay, s.limits.NewRecipientsPerDay = 0, 0, 0 // people measure with it
	if s.postmaster, err = mail.ParseAddress(one.accounts[0] + "@" + one.domain()); err != nil {
		return err
	}
	for _, p := range devPorts() {
		s.listeners = append(s.listeners, config.Listener{
			Protocol: p.protocol, Address: d.listen(one, p.port), AllowPlaintextAuth: slices.Contains([]string{"imap", "pop3", "submission"}, p.protocol),
		})
	}
	h, err := openHouse(s)
	if err != nil {
		return err
	}
	d.houses = append(d.houses, h)
	return errors.Join(d.publish(h), d.addAccounts(ctx, one, h))
}

// publish puts the house into DNS, as its owner would.
func (d *dev) publish(h *house) error {
	zone, err := h.zone()
	if err != nil {
		return err
	}
	return d.zone.Add(zone + fmt.Sprintf("%[1]s. A 127.0.0.1\n1.0.0.127.in-addr.arpa. PTR %[1]s.\n", h.hostname))
}

func (d *dev) addAccounts(ctx context.Context, one devHouse, h *house) error {
	for _, name := range one.accounts {
		login, err := mail.ParseAddress(name + "@" + one.domain())
		if err != nil {
			return err
		}
		if _, err = h.directory.AddAccount(ctx, login, d.password); errors.Is(err, directory.ErrExists) {
			err = h.directory.SetPassword(ctx, login, d.password)
		}
		if err != nil {
			return fmt.Errorf("account %s: %w", login, err)
		}
	}
	return nil
}

// run lets both houses run until ctx ends or one of them fails.
func (d *dev) run(ctx context.Context, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg, started sync.WaitGroup
	errs := make([]error, len(d.houses))
	started.Add(len(d.houses))
	for i, h := range d.houses {
		wg.Go(func() {
			errs[i] = h.run(ctx, started.Done)
			cancel()
		})
	}
	started.Wait()
	ready()
	wg.Wait()
	return errors.Join(errs...)
}

// welcome prints what there is and what to try.
func (d *dev) welcome(w io.Writer) {
	t := newTable(w, "", "north", "south")
	houses := devHouses()
	t.row("domain", houses[0].domain(), houses[1].domain())
	for _, p := range devPorts() {
		t.row(p.protocol, d.listen(houses[0], p.port).String(), d.listen(houses[1], p.port).String())
	}
	for i := range houses[0].accounts {
		t.row("account", houses[0].accounts[i]+"@"+houses[0].domain(), houses[1].accounts[i]+"@"+houses[1].domain())
	}
	t.row("password", d.password, d.password)
	t.flush()
	fmt.Fprintf(w, `
Send a letter from alice to bob:
  printf 'From: alice@north.test\r\nTo: bob@south.test\r\nSubject: hello\r\n\r\nHello Bob.\r\n' |
  curl --ssl-reqd --cacert %[1]s smtp://localhost:%[2]d --user %[4]s --mail-from alice@north.test --mail-rcpt bob@south.test -T -
Read it as bob:
  curl --ssl-reqd --cacert %[1]s 'imap://localhost:%[3]d/INBOX;MAILINDEX=*' --user %[5]s
See what waits in north's queue:
  %[6]s queue list --socket %[7]s

ready
`, shellWord(d.ca.File), d.listen(houses[0], 587).Port(), d.listen(houses[1], 143).Port(), shellWord("alice@north.test:"+d.password), shellWord("bob@south.test:"+d.password),
		shellWord(os.Args[0]), shellWord(filepath.Join(d.dir, "north", socketName)))
}

// shellWord is a word as a shell takes it.
func shellWord(s string) string {
	if plain := strings.Trim(s, "-./:@_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"); plain == "" && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
