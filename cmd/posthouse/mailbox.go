package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"posthouse/httpd/admin"
)

func newMailbox() *cobra.Command {
	return group("mailbox", "What is in accounts' mailboxes", newUndelete(),
		newAccountVerb("mailbox purge", "Forget expunged mail now, before its time", http.MethodDelete, "/expunged"))
}

func newUndelete() *cobra.Command {
	var f admin.ExpungedFilter
	var list, all bool
	c := &cobra.Command{
		Use: "undelete ADDRESS", Short: "File expunged mail again, where it was or elsewhere; with --list, show it", Args: cobra.ExactArgs(1),
		Example: "  posthouse mailbox undelete alice@example.com --since 48h --list\n  posthouse mailbox undelete alice@example.com --box Work --into Restored",
	}
	flags := c.Flags()
	flags.StringVar(&f.Box, "box", "", "what was in this mailbox")
	flags.StringVar(&f.Since, "since", "", "what was expunged so long ago at most, like 48h")
	flags.StringVar(&f.From, "from", "", "what has these words in From")
	flags.StringVar(&f.Subject, "subject", "", "what has these words in Subject")
	flags.StringVar(&f.Into, "into", "", "file it in this mailbox, which is made if need be")
	flags.BoolVar(&all, "all", false, "all that is kept")
	flags.BoolVar(&list, "list", false, "show it, and leave it")
	return remote(c, func(c *cobra.Command, server *client, conn *connection, args []string) error {
		if list {
			return listExpunged(c, server, conn, accountPath(args[0])+"/expunged", f)
		}
		if chosen := f != (admin.ExpungedFilter{Into: f.Into}); chosen == all {
			return fmt.Errorf("%w: give --box, --since, --from, --subject, or --all", errUsage)
		}
		var restored admin.Restored
		if err := server.call(c.Context(), http.MethodPost, accountPath(args[0])+"/expunged/restore", f, &restored); err != nil {
			return err
		}
		if conn.json {
			return printJSON(c.OutOrStdout(), restored)
		}
		fmt.Fprintf(c.OutOrStdout(), "%d messages\n", restored.Messages)
		return nil
	})
}

func listExpunged(c *cobra.Command, server *client, conn *connection, path string, f admin.ExpungedFilter) error {
	query := url.Values{}
	for name, value := range map[string]string{"box": f.Box, "since": f.Since, "from": f.From, "subject": f.Subject} {
		if value != "" {
			query.Set(name, value)
		}
	}
	t := newTable(c.OutOrStdout(), "MAILBOX", "UID", "EXPUNGED", "SIZE", "FROM", "SUBJECT")
	return printList(t, conn, each[admin.ExpungedMessage](c.Context(), server, path, query), func(m admin.ExpungedMessage) {
		t.row(m.Box, strconv.FormatUint(uint64(m.UID), 10), minute(m.Expunged), octets(m.Size), m.From, m.Subject)
	})
}
