package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"posthouse/mail"
	"posthouse/spool"
)

func newTrace() *cobra.Command {
	c := &cobra.Command{
		Use: "trace ID|ADDRESS|MESSAGE-ID", Short: "Tell a message's whole story", Args: cobra.ExactArgs(1),
		Example: "  posthouse trace bob@example.com\n  posthouse trace '<20260101@example.com>'",
	}
	return remote(c, func(c *cobra.Command, server *client, conn *connection, args []string) error {
		n := 0
		for s, err := range each[spool.Story](c.Context(), server, "/v1/trace", traceQuery(args[0])) {
			if err != nil {
				return err
			}
			if n++; conn.json {
				err = printJSON(c.OutOrStdout(), s)
			} else {
				printStory(c.OutOrStdout(), s)
			}
			if err != nil {
				return err
			}
		}
		if n == 0 {
			return errors.New("nothing is known of " + args[0])
		}
		return nil
	})
}

// traceQuery guesses what a word is: an ID of ours, a Message-ID in angle brackets, an address. An address may be a Message-ID without
// its brackets; who means that writes them.
func traceQuery(word string) url.Values {
	key := "message_id"
	if _, err := mail.ParseID(word); err == nil {
		key = "id"
	} else if _, err := mail.ParseAddress(word); err == nil {
		key = "address"
	}
	return url.Values{key: {strings.Trim(word, "<>")}}
}

func printStory(w io.Writer, s spool.Story) {
	printEntry(w, s.Entry)
	for _, e := range s.Events {
		who := ""
		for _, r := range s.Recipients {
			if r.N == e.Recipient {
				who = printable(r.Address.String()) + " "
			}
		}
		fmt.Fprintf(w, "%s  %s %s%s\n", e.Time.Local().Format(time.DateTime+".000"), e.Kind, who, printable(e.Text))
	}
	fmt.Fprintln(w)
}
