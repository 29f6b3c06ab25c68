package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"posthouse/httpd/admin"
	"posthouse/internal/config"
	"posthouse/internal/db"
	"posthouse/internal/vfs"
	"posthouse/spool"
)

var errDamaged = errors.New("there is damage")

// checker looks at one store of a house and reports what is not as it was written.
type checker struct {
	store string
	check func(ctx context.Context, dir string, report func(trouble string)) error
}

// checkers look at all that a house keeps, beside a server that runs or without one.
func checkers() []checker {
	return []checker{
		{"spool", func(ctx context.Context, dir string, report func(string)) error {
			return spool.Verify(ctx, filepath.Join(dir, "spool"), report)
		}},
		{"directory", func(ctx context.Context, dir string, report func(string)) error {
			return checkDatabase(ctx, dir, "directory.db", report)
		}},
		{"accounts", checkAccounts},
	}
}

// checkDatabase has SQLite look at a database, which is named by its path in the house.
func checkDatabase(ctx context.Context, dir, name string, report func(string)) error {
	troubles, err := db.Check(ctx, filepath.Join(dir, name))
	for _, t := range troubles {
		report(name + ": " + t)
	}
	return err
}

// checkAccounts looks at each account's mailboxes. Their indices are left out: they are made of the mailboxes, and made anew when they are damaged.
func checkAccounts(ctx context.Context, dir string, report func(string)) error {
	names, err := filepath.Glob(filepath.Join(dir, "accounts", "*", "*", "mailbox.db"))
	if err != nil {
		return err
	}
	for _, full := range names {
		name, err := filepath.Rel(dir, full)
		if err != nil {
			return err
		}
		if err := checkDatabase(ctx, dir, name, report); err != nil && !errors.Is(err, fs.ErrNotExist) { // it may be removed meanwhile
			return err
		}
	}
	return nil
}

// verify yields what is wrong in a house's directory; a store that is not there is.
func verify(ctx context.Context, dir string) iter.Seq2[admin.Trouble, error] {
	return func(yield func(admin.Trouble, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		more := true
		tell := func(t admin.Trouble, err error) {
			if more = more && yield(t, err); !more {
				stop()
			}
		}
		for _, c := range checkers() {
			err := c.check(ctx, dir, func(trouble string) { tell(admin.Trouble{Store: c.store, Trouble: trouble}, nil) })
			if missing := (*fs.PathError)(nil); errors.As(err, &missing) && errors.Is(err, fs.ErrNotExist) {
				tell(admin.Trouble{Store: c.store, Trouble: "no such file: " + missing.Path}, nil)
			} else if err != nil {
				tell(admin.Trouble{}, fmt.Errorf("%s: %w", c.store, err))
			}
			if !more || ctx.Err() != nil {
				return
			}
		}
	}
}

// verify is the running house's.
func (h *house) verify(ctx context.Context) iter.Seq2[admin.Trouble, error] {
	return verify(ctx, h.dir)
}

// dataDir is the directory that the flags of an offline command name.
func dataDir(dir, file string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	c, err := config.Read(file)
	if err != nil {
		return "", fmt.Errorf("which house? give --dir or --config: %w", err)
	}
	return c.DataDir, nil
}

func newVerify() *cobra.Command {
	var dir string
	var conn connection
	c := &cobra.Command{
		Use: "verify", Short: "Look for damage in everything that is stored; exit 1 if there is some", Args: cobra.NoArgs,
		Long: "Verify reads everything that is stored and checks pages, indices and checksums. With a server running, the server does it; " +
			"without one, or with --dir, this command.",
		Example: "  posthouse verify\n  posthouse verify --dir /var/lib/posthouse",
	}
	conn.add(c)
	c.Flags().StringVar(&dir, "dir", "", "a house's directory, to look at without its server")
	c.RunE = func(c *cobra.Command, _ []string) error {
		troubles, err := conn.troubles(c.Context(), dir)
		if err != nil {
			return err
		}
		damaged := 0
		for t, err := range troubles {
			if err != nil {
				return err
			}
			if damaged++; conn.json {
				err = printJSON(c.OutOrStdout(), t)
			} else {
				_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", t.Store, printable(t.Trouble))
			}
			if err != nil {
				return err
			}
		}
		if damaged > 0 {
			return fmt.Errorf("%w: %d troubles; posthouse repair saves what is intact in the spool", errDamaged, damaged)
		}
		return nil
	}
	return c
}

// troubles are those of a directory, or of the running server's, or of the one that its configuration names if it does not run.
func (f *connection) troubles(ctx context.Context, dir string) (iter.Seq2[admin.Trouble, error], error) {
	if dir != "" {
		return verify(ctx, dir), nil
	}
	server, err := f.open()
	if err != nil {
		return nil, err
	}
	var version map[string]string
	err = server.call(ctx, "GET", "/v1/version", nil, &version)
	if errors.Is(err, errNotRunning) {
		if dir, err = dataDir("", f.config); err == nil {
			return verify(ctx, dir), nil
		}
	}
	return each[admin.Trouble](ctx, server, "/v1/verify", nil), err
}

func newRepair() *cobra.Command {
	var dir, file string
	var asJSON bool
	c := &cobra.Command{
		Use: "repair", Short: "Save what is intact of a damaged spool; the server must not run", Args: cobra.NoArgs,
		Long: "Repair makes a new spool of every message that is intact and names each that is not. The damaged spool stays beside it, " +
			"as spool.damaged-TIME. Recipients of whom it is not known any more whether they were delivered are held.",
		Example: "  posthouse repair --dir /var/lib/posthouse",
	}
	c.Flags().StringVar(&dir, "dir", "", "the house's directory (default: the configuration's data_dir)")
	c.Flags().StringVar(&file, "config", defaultConfig, "configuration file")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, one document a line")
	c.RunE = func(c *cobra.Command, _ []string) error {
		dir, err := dataDir(dir, file)
		if err != nil {
			return err
		}
		held, err := lock(dir)
		if err != nil {
			return err
		}
		defer held.Close()
		out := c.OutOrStdout()
		done, err := repairSpool(c.Context(), dir, func(trouble string) {
			if asJSON {
				printJSON(out, admin.Trouble{Store: "spool", Trouble: trouble})
			} else {
				fmt.Fprintln(out, printable(trouble))
			}
		})
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(out, done)
		}
		fmt.Fprintf(out, "%d messages saved, %d lost, %d recipients held\n", done.Messages, done.Lost, done.Held)
		return nil
	}
	return c
}

// repairSpool puts a new spool in the place of a damaged one, which stays beside it. The new one is spool.repairing until it is whole and
// durable, and spool.repaired until the damaged one is out of its way: a repair that was broken off begins anew before that moment, and is
// finished after it.
func repairSpool(ctx context.Context, dir string, report func(string)) (done spool.Salvaged, err error) {
	if err := finishRepair(dir); err != nil {
		return done, err
	}
	old, unfinished, saved := filepath.Join(dir, "spool"), filepath.Join(dir, "spool.repairing"), filepath.Join(dir, "spool.repaired")
	if err := errors.Join(os.RemoveAll(unfinished), os.RemoveAll(saved)); err != nil {
		return done, err
	}
	if done, err = spool.Repair(ctx, old, unfinished, report); err != nil {
		return done, errors.Join(err, os.RemoveAll(unfinished)) // the disk may be full of it
	}
	for _, step := range []func() error{
		func() error { return os.Rename(unfinished, saved) },
		func() error { return vfs.OS{}.SyncDir(dir) },
		func() error { return os.Rename(old, old+".damaged-"+time.Now().UTC().Format("20060102T150405")) },
		func() error { return finishRepair(dir) },
	} {
		if err := step(); err != nil {
			return done, err
		}
	}
	return done, nil
}

// finishRepair takes a repair's last step. Whoever opens the spool takes it first, in case the repair was broken off before it: else there
// would be a new, empty spool beside the one with the mail.
func finishRepair(dir string) error {
	place, saved := filepath.Join(dir, "spool"), filepath.Join(dir, "spool.repaired")
	if _, err := os.Stat(place); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(saved, place); errors.Is(err, fs.ErrNotExist) {
		return nil // no repair was broken off
	} else if err != nil {
		return err
	}
	return vfs.OS{}.SyncDir(dir)
}
