package delivery

import (
	"fmt"
	"slices"
	"testing"

	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/spool"
)

// jobsFor are jobs of 1 KiB, numbered from 1, for these recipients.
func jobsFor(to ...string) (jobs []spool.Job) {
	for i, a := range to {
		j := spool.Job{Lease: spool.Lease{ID: mail.ID(i + 1)}}
		j.Size, j.Recipients = 1<<10, []spool.Recipient{{Recipient: mail.Recipient{Address: mailtest.Address(a)}}}
		jobs = append(jobs, j)
	}
	return jobs
}

// popped are the numbers of the jobs of a line, as they are popped.
func popped(l *line) (got [][]int) {
	for jobs := l.pop(); len(jobs) > 0; jobs = l.pop() {
		var ids []int
		for _, j := range jobs {
			ids = append(ids, int(j.Lease.ID))
		}
		got = append(got, ids)
	}
	return got
}

// What is for the same mailbox is delivered at the same time, in its order, and what is urgent first.
func TestLineOfMailboxes(t *testing.T) {
	const a, b = "a@north.test", "b@north.test"
	large := jobsFor(a, a, a)
	large[1].Size = maxTogether
	urgent := jobsFor(b, a, b)
	urgent[2].Priority = 1
	many := jobsFor(slices.Repeat([]string{a}, maxSideBySide+1)...)
	for _, c := range []struct {
		destination string
		jobs        []spool.Job
		want        [][]int
	}{
		{localDestination, nil, nil},
		{localDestination, jobsFor(b, a, "a@south.test", b, a, b), [][]int{{2, 5}, {1, 4, 6}, {3}}},
		{localDestination, urgent, [][]int{{3}, {2}, {1}}},
		{localDestination, large, [][]int{{1}, {2}, {3}}},
		{"north.test", jobsFor(a, b, a), [][]int{{1}, {2}, {3}}},
	} {
		l := &line{destination: c.destination}
		l.add(c.jobs)
		if got := popped(l); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", c.destination, got, c.want)
		}
	}
	l := &line{destination: localDestination}
	l.add(many)
	if got := popped(l); len(got) != 2 || len(got[0]) != maxSideBySide {
		t.Errorf("many for one: %v", got)
	}
}

// What comes later stands behind what is for the same mailbox, and before what is for others.
func TestLineGrows(t *testing.T) {
	l := &line{destination: localDestination}
	jobs := jobsFor("a@north.test", "b@north.test", "c@north.test", "b@north.test")
	l.add(jobs[:3])
	l.pop()
	l.add(jobs[3:])
	if got := popped(l); fmt.Sprint(got) != "[[2 4] [3]]" {
		t.Errorf("%v", got)
	}
}
