package main

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"posthouse/httpd/admin"
)

func sharesPath(login string) string { return accountPath(login) + "/shares" }

// newShare lets others use mailboxes of an account.
func newShare() *cobra.Command {
	var s admin.Share
	c := &cobra.Command{
		Use: "share OWNER --with ADDRESS|anyone --rights RIGHTS", Short: "Let others use an account's mailboxes", Args: cobra.ExactArgs(1),
		Long: "Let others use an account's mailboxes, as they stand, in place of what they were granted before. A mailbox made below one of them\n" +
			"later is shared in the same way. They find them below \"Other Users\", those of shared accounts below \"Shared Folders\".",
		Example: "  posthouse account share alice@example.com --with bob@example.com --rights read\n" +
			"  posthouse account share alice@example.com --with bob@example.com --box Archive/2026 --rights lrsi\n" +
			"  posthouse account share team@example.com --with anyone --box INBOX --rights write",
	}
	addShareFlags(c, &s)
	c.Flags().StringVar(&s.Rights, "rights", "", "read (lrs), write (lrswite), all, or letters of RFC 4314: l list, r read, s keep what one has seen, "+
		"w flags, i insert, k create below, x delete the mailbox, t mark as deleted, e expunge, a say who may what")
	return remote(c, func(c *cobra.Command, server *client, _ *connection, args []string) error {
		if err := required(c, "with", "rights"); err != nil {
			return err
		}
		return server.call(c.Context(), http.MethodPost, sharesPath(args[0]), s, nil)
	})
}

// newUnshare ends it.
func newUnshare() *cobra.Command {
	var s admin.Share
	c := &cobra.Command{
		Use: "unshare OWNER --with ADDRESS|anyone", Short: "Take back what share granted, or the owner", Args: cobra.ExactArgs(1),
		Example: "  posthouse account unshare alice@example.com --with bob@example.com\n  posthouse account unshare team@example.com --with anyone --box INBOX",
	}
	addShareFlags(c, &s)
	return remote(c, func(c *cobra.Command, server *client, _ *connection, args []string) error {
		if err := required(c, "with"); err != nil {
			return err
		}
		path := sharesPath(args[0]) + "/" + url.PathEscape(s.With) + "?" + url.Values{"box": {s.Box}}.Encode()
		return server.call(c.Context(), http.MethodDelete, path, nil, nil)
	})
}

func addShareFlags(c *cobra.Command, s *admin.Share) {
	c.Flags().StringVar(&s.With, "with", "", "the account that may use them, or anyone")
	c.Flags().StringVar(&s.Box, "box", "", "one mailbox (default: every one there is)")
}

// newShares lists what an account shares.
func newShares() *cobra.Command {
	c := &cobra.Command{Use: "shares OWNER", Short: "List what an account shares", Args: cobra.ExactArgs(1), Example: "  posthouse account shares alice@example.com"}
	return remote(c, func(c *cobra.Command, server *client, f *connection, args []string) error {
		t := newTable(c.OutOrStdout(), "MAILBOX", "WITH", "RIGHTS")
		return printList(t, f, each[admin.Share](c.Context(), server, sharesPath(args[0]), nil), func(s admin.Share) {
			t.row(s.Box, s.With, s.Rights)
		})
	})
}

// required tells which flag is missing.
func required(c *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if !c.Flags().Changed(name) {
			return fmt.Errorf("%w: give --%s", errUsage, name)
		}
	}
	return nil
}
