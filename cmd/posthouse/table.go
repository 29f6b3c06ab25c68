package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// table prints aligned columns; without rows it prints nothing.
type table struct {
	out   io.Writer
	w     *tabwriter.Writer
	head  []string
	begun bool
}

func newTable(w io.Writer, head ...string) *table {
	return &table{out: w, w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0), head: head}
}

func (t *table) row(cells ...string) {
	if !t.begun {
		t.begun = true
		fmt.Fprintln(t.w, strings.Join(t.head, "\t"))
	}
	for i, c := range cells {
		cells[i] = printable(c)
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

// printList prints what a server's list yields: each as the rows that show makes of it, or as JSON.
func printList[T any](t *table, f *connection, values iter.Seq2[T, error], show func(T)) error {
	for v, err := range values {
		if err == nil && f.json {
			err = printJSON(t.out, v)
		} else if err == nil {
			show(v)
		}
		if err != nil {
			return errors.Join(t.flush(), err)
		}
	}
	return t.flush()
}

func (t *table) flush() error { return t.w.Flush() }

// printable keeps a stranger's words from moving the cursor or the columns, or turning the direction of what follows.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

func day(t time.Time) string { return t.Local().Format(time.DateOnly) }

func minute(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

// ago is a time span as people say it.
func ago(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// octets is a size as people say it.
func octets(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1fK", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1fM", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1fG", float64(n)/(1<<30))
}
