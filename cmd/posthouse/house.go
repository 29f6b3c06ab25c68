package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"posthouse/crypto/certs"
	"posthouse/crypto/password"
	"posthouse/delivery"
	"posthouse/delivery/scheduled"
	"posthouse/directory"
	"posthouse/directory/sasl"
	"posthouse/httpd/metrics"
	"posthouse/internal/config"
	"posthouse/internal/dns"
	"posthouse/internal/link"
	"posthouse/internal/vfs"
	"posthouse/mail"
	"posthouse/mailbox"
	"posthouse/mta"
	"posthouse/spool"
)

// drainTime is how long an orderly stop waits for sessions and deliveries under way before it cuts them off.
const drainTime = 8 * time.Second

// settings are what one house is made of: the configuration, given its meaning.
type settings struct {
	hostname   string
	dir        string
	postmaster mail.Address
	certs      *certs.Keeper
	resolver   dns.Resolver
	domains    []directory.Domain
	accounts   []directory.Declared
	listeners  []config.Listener
	routes     []delivery.Route
	delivery   config.Delivery
	limits     config.Limits
	mailbox    config.Mailbox
	submission config.Submission
	admission  admission
	auth       config.Auth
	users      *x509.CertPool // who vouches for the certificates of users; nil: nobody does
	cost       password.Cost
	log        *slog.Logger
}

// house is one complete mail system: its rooms, and the doors that are open.
type house struct {
	settings
	directory *directory.SQLite
	store     *mailbox.SQLite
	spool     *spool.SQLite
	scheduled *scheduled.Store
	keys      *dkimKeys
	mover     *delivery.Mover
	clients   *mta.Clients
	authority *sasl.Authenticator // lets users in, at every door
	metrics   *metrics.Registry
	doors     []door
	readers   map[readers]lineServer
	observers map[string]link.Observer // by protocol
	closers   []func() error           // what open built, in that order
}

// openHouse builds the rooms from the inside out: what holds state first, then who moves mail, then the doors. Nobody is let in yet.
func openHouse(s settings) (*house, error) {
	h := &house{settings: s, readers: map[readers]lineServer{}, observers: map[string]link.Observer{}, metrics: metrics.New()}
	for _, build := range []func() error{
		h.lockDir, h.openDirectory, h.openStore, h.openKeys, h.openMover, h.openSpool, h.openClients, h.openAuthority, h.openDoors, h.openControl, h.measure,
	} {
		if err := build(); err != nil {
			return nil, errors.Join(err, h.close())
		}
	}
	return h, nil
}

func (h *house) onClose(f func() error) { h.closers = append(h.closers, f) }

// close takes down what was built, last first.
func (h *house) close() error {
	var errs []error
	for i := len(h.closers) - 1; i >= 0; i-- {
		errs = append(errs, h.closers[i]())
	}
	h.closers = nil
	return errors.Join(errs...)
}

// lockDir makes sure that no other process has the house.
func (h *house) lockDir() error {
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return err
	}
	if err := (vfs.OS{}).SyncDir(filepath.Dir(h.dir)); err != nil { // what is promised lies below it
		return err
	}
	f, err := lock(h.dir)
	if err != nil {
		return err
	}
	h.onClose(f.Close) // and unlocks
	return nil
}

// lock locks a folder against other processes, until the file is closed.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is in use by another process: %w", dir, err), f.Close())
	}
	return f, nil
}

func (h *house) openDirectory() (err error) {
	h.directory, err = directory.Open(filepath.Join(h.dir, "directory.db"), directory.Options{
		Domains: h.domains, Accounts: h.accounts, Postmaster: h.postmaster, Cost: h.cost,
		SCRAM: h.scram(), Allowance: h.allowance(),
	})
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	h.onClose(h.directory.Close)
	return nil
}

func (h *house) openStore() (err error) {
	h.store, err = mailbox.OpenSQLite(mailbox.Options{
		Dir: filepath.Join(h.dir, "accounts"), KeepExpunged: h.mailbox.KeepExpunged, MaxKept: h.mailbox.KeepAtMost, Log: h.log,
	})
	if err != nil {
		return fmt.Errorf("accounts: %w", err)
	}
	h.onClose(h.store.Close)
	return nil
}

func (h *house) openKeys() (err error) {
	h.keys = &dkimKeys{dir: filepath.Join(h.dir, "keys", "dkim"), directory: h.directory, log: h.log}
	return h.keys.open()
}

// openMover makes the mover without its spool, which needs to know where the mover would send things.
func (h *house) openMover() (err error) {
	h.mover, err = delivery.New(delivery.Options{
		Hostname: h.hostname, Directory: h.directory, Store: h.store, Resolver: h.resolver, Port: h.delivery.Port, Routes: h.routes,
		Retry: h.delivery.Retry, GiveUpAfter: h.delivery.GiveUpAfter, WarnAfter: h.delivery.WarnAfter, SuppressFor: h.delivery.SuppressFor, Sign: h.keys.sign,
		Postmaster: h.postmaster, Observe: h.observeDelivery(), Log: h.log,
	})
	return err
}

func (h *house) openSpool() (err error) {
	if err := finishRepair(h.dir); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	h.spool, err = spool.OpenSQLite(spool.Options{
		Dir: filepath.Join(h.dir, "spool"), Destination: h.mover.Destination, Log: h.log,
		Rescheduled: func(id mail.AccountID) { h.scheduled.Changed(id) },
	})
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	h.onClose(h.spool.Close)
	h.scheduled = scheduled.NewStore(h.spool)
	return nil
}

// run lets everybody in, tells ready, and moves mail until ctx ends; then it drains. A door that breaks ends it too.
func (h *house) run(ctx context.Context, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var first error
	var once sync.Once
	start := func(name string, serve func() error) {
		wg.Go(func() {
			if err := serve(); err != nil {
				once.Do(func() { first = fmt.Errorf("%s: %w", name, err) })
			}
			cancel()
		})
	}
	moving, stopMoving := context.WithCancel(context.WithoutCancel(ctx))
	defer stopMoving()
	start("delivery", func() error { return h.mover.Run(moving, h.spool) })
	for _, d := range h.doors {
		start(d.name, d.serve)
	}
	ready()
	<-ctx.Done()

	h.log.Info("stopping", "hostname", h.hostname)
	drain, stop := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer stop()
	var doors sync.WaitGroup
	for _, d := range h.doors {
		doors.Go(func() {
			if err := d.shutdown(drain); err != nil {
				h.log.Warn("sessions were cut off", "door", d.name, "error", err)
			}
		})
	}
	doors.Wait()
	stopMoving()
	wg.Wait()
	return errors.Join(first, h.close())
}

// ready is nil while the house takes mail.
func (h *house) ready() error { return h.spool.Failed() }

// reload reads certificates anew.
func (h *house) reload(context.Context) error {
	h.log.Info("reloading certificates", "hostname", h.hostname)
	return h.certs.Reload()
}

// disconnect ends an account's sessions at every door.
func (h *house) disconnect(id mail.AccountID) {
	for _, d := range h.doors {
		if d.disconnect != nil {
			d.disconnect(id)
		}
	}
}

// mtaOptions are those of every listener that takes mail.
func (h *house) mtaOptions(kind mta.Kind, l config.Listener) mta.Options {
	return mta.Options{
		Kind: kind, Hostname: h.hostname, Spool: h.spool, Directory: h.directory, Auth: h.authority, Resolver: h.resolver, Signer: h.keys.signer, UndoWindow: h.submission.UndoWindow,
		Postmaster: h.postmaster, TLS: h.doorTLS(l.Protocol), AllowPlaintextAuth: l.AllowPlaintextAuth, ShowClients: l.ShowClients, RelayFrom: l.RelayFrom,
		XClientFrom: l.XClientFrom, Queues: l.ETRNDomains, QueuesFor: l.ETRNFrom, Lacks: h.mover.Lacks, DSN: true,
		Admission: h.admission.stages, MonitorDMARC: h.admission.monitor, Clients: h.clients, Tarpit: h.admission.tarpit,
		Limits: mta.Limits{MessageSize: h.limits.MessageSize, Recipients: h.limits.Recipients, SessionsPerNetwork: h.admission.perNetwork}, Log: h.log,
	}
}
