// Posthouse is a mail system in one program: it receives, spools, authenticates, queues, relays, stores and serves mail.
//
// This package is the command line, and house.go is the one place where all rooms are put together. Commands other than serve and dev
// talk to the running server over its control socket.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// Exit codes.
const (
	exitFailed     = 1
	exitUsage      = 2
	exitNotRunning = 3
)

var errUsage = errors.New("wrong usage")

func main() {
	unix.Umask(0o077) // what we make is ours alone, the control socket too from its first moment
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends the process at once
	err := newRoot().ExecuteContext(ctx)
	stop()
	if f, ok := errors.AsType[*failure](err); ok {
		fail(f.code, errors.New(printable(err.Error()))) // some of it may be a stranger's words
	}
	switch {
	case err == nil:
		return
	case errors.Is(err, errNotRunning):
		fail(exitNotRunning, err)
	case errors.Is(err, errUsage):
		fail(exitUsage, err)
	}
	fail(exitFailed, err)
}

func fail(code int, err error) {
	fmt.Fprintln(os.Stderr, "posthouse:", err)
	os.Exit(code)
}

// newRoot is the whole command line.
func newRoot() *cobra.Command {
	root := group("posthouse", "A mail system in one program")
	root.Long = "Posthouse receives, spools, authenticates, queues, relays, stores and serves mail."
	root.SilenceErrors, root.SilenceUsage = true, true // main prints them
	root.AddCommand(newServe(), newDev(), newAccount(), newMailbox(), newDomain(), newQueue(), newDead(), newSuppression(), newBans(), newTrace(), newDNS(), newStatus(), newReload(), newVerify(), newRepair(), newSop(), newVersion())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	markUsage(root)
	return root
}

// markUsage makes what cobra says of arguments a matter of usage.
func markUsage(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		markUsage(sub)
	}
}

// group is a command that only has sub-commands.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		return fmt.Errorf("%w: %s needs one of its commands; see --help", errUsage, c.CommandPath())
	}}
	c.AddCommand(subs...)
	return c
}

// version is the module's version, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			v = s.Value
		}
	}
	if v == "" {
		v = "(devel)"
	}
	return v
}

func newVersion() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "version", Short: "Print the version", Example: "  posthouse version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if asJSON {
				return printJSON(c.OutOrStdout(), map[string]string{"version": version()})
			}
			fmt.Fprintln(c.OutOrStdout(), "posthouse", version())
			return nil
		}}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
