package mailboxtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/iotest"
	"testing/synctest"

	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// message is a message of about size octets: text that compresses, and octets that do not.
func message(header, size int) string {
	b := []byte("Subject: big\r\n")
	for len(b) < header {
		b = fmt.Appendf(b, "X-%d: %s\r\n", len(b), strings.Repeat("h", min(60, max(1, header-len(b)-20))))
	}
	b = append(b, "\r\n"...)
	r := rand.New(rand.NewPCG(uint64(header), uint64(size)))
	for len(b) < size {
		if r.IntN(100) == 0 {
			for range 1000 {
				b = append(b, byte(r.Uint32()))
			}
		}
		b = append(b, "A line that is like all the others of this text.\r\n"...)
	}
	return string(b[:max(size, header)])
}

func contents(h *house) {
	inbox := h.box("INBOX").ID
	const k = 1 << 10
	texts := []string{"", "\r\n", "x", "Subject: only a header\r\n", "no header\x00\xff at all", "bare\nlines\n\nhere\n",
		message(mailbox.MaxCachedHeader-200, 40*k), message(mailbox.MaxCachedHeader+200, 40*k), message(600*k, 700*k), message(5<<20, 6<<20)}
	noise := make([]byte, 1500*k)
	rand.NewChaCha8([32]byte{}).Read(noise)
	texts = append(texts, string(noise), "\r\n"+string(noise), "\r\n"+string(noise[:100*k]))
	for _, size := range []int{4 * k, 64*k - 1, 64 * k, 64*k + 1, 64*k + 16, 128 * k, 512*k - 1, 512 * k, 512*k + 1, 3 << 20} {
		texts = append(texts, message(16, size))
	}
	var blobs []mailbox.BlobID
	for i, text := range texts {
		var in io.Reader = strings.NewReader(text)
		switch i % 3 {
		case 1:
			in = iotest.HalfReader(in)
		case 2:
			in = iotest.DataErrReader(in)
		}
		id, err := h.Stage(h.Context(), in)
		h.check(err)
		_, err = h.Open(h.Context(), id+1)
		h.wants(err, mailbox.ErrNoBlob)
		h.do(mailbox.Add{Box: inbox, Blob: id})
		blobs = append(blobs, id)
	}
	for range 2 {
		for i, id := range blobs {
			h.compare(id, texts[i])
		}
		h.reopen()
	}
	for i, m := range h.look(inbox).All() {
		if m.Size != int64(len(texts[i])) {
			h.Errorf("%d octets of %d", m.Size, len(texts[i]))
		}
	}
}

// compare reads a content whole, and in pieces from several goroutines.
func (h *house) compare(id mailbox.BlobID, want string) {
	h.Helper()
	if got := h.read(id); got != want {
		h.Fatalf("%d octets are not the %d filed", len(got), len(want))
	}
	c, err := h.Open(h.Context(), id)
	h.check(err)
	defer c.Close()
	var wg sync.WaitGroup
	for seed := range uint64(3) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(len(want))))
			for range 10 {
				off := r.Int64N(int64(len(want)) + 10)
				p := make([]byte, r.IntN(100_000))
				n, err := c.ReadAt(p, off)
				rest := want[min(off, int64(len(want))):]
				if string(p[:n]) != rest[:min(len(p), len(rest))] || (err != nil) != (len(rest) < len(p)) || err != nil && err != io.EOF {
					h.Errorf("%d octets at %d of %d: %d, %v", len(p), off, len(want), n, err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := c.ReadAt(make([]byte, 1), -1); err == nil || err == io.EOF {
		h.Errorf("before the beginning: %v", err)
	}
}

func contentIsShared(h *house) {
	inbox, sent := h.box("INBOX").ID, h.box("Sent").ID
	text := message(16, 200_000)
	id := h.stage(text)
	h.do(mailbox.Add{Box: inbox, Blob: id}, mailbox.Copy{From: inbox, UIDs: mailbox.AllUIDs(), To: sent},
		mailbox.Copy{From: sent, UIDs: mailbox.AllUIDs(), To: inbox}, mailbox.Copy{From: inbox, UIDs: mailbox.AllUIDs(), To: inbox})
	remove := func(box mailbox.BoxID, uids mailbox.UIDSet) {
		h.do(mailbox.SetFlags{Box: box, UIDs: uids, Marks: makeMarks(`\Deleted`)}, mailbox.Expunge{Box: box, UIDs: uids})
		synctest.Wait()
		h.reopen()
	}
	for _, uid := range []mailbox.UID{2, 4, 1} {
		remove(inbox, mailbox.UIDSet{{First: uid, Last: uid}})
		h.compare(id, text)
	}
	h.do(mailbox.DeleteBox{Name: "Sent"})
	synctest.Wait()
	h.compare(id, text)
	remove(inbox, mailbox.AllUIDs())
	synctest.Wait()
	_, err := h.Open(h.Context(), id)
	h.wants(err, mailbox.ErrNoBlob)
	h.refuse(mailbox.ErrNoBlob, mailbox.Add{Box: inbox, Blob: id})
}

func contentOutlivesItsMessages(h *house) {
	inbox := h.box("INBOX").ID
	text := message(16, 1<<20)
	id := h.stage(text)
	h.do(mailbox.Add{Box: inbox, Blob: id})
	var open []io.Closer
	for range 3 {
		c, err := h.Open(h.Context(), id)
		h.check(err)
		open = append(open, c)
	}
	h.do(mailbox.SetFlags{Box: inbox, UIDs: mailbox.AllUIDs(), Marks: makeMarks(`\Deleted`)}, mailbox.Expunge{Box: inbox, UIDs: mailbox.AllUIDs()})
	synctest.Wait()
	for _, c := range open {
		got, err := io.ReadAll(io.NewSectionReader(c.(io.ReaderAt), 0, int64(len(text))))
		if err != nil || string(got) != text {
			h.Errorf("%d octets, %v", len(got), err)
		}
		h.check(c.Close())
		h.check(c.Close())
	}
	synctest.Wait()
	_, err := h.Open(h.Context(), id)
	h.wants(err, mailbox.ErrNoBlob)
	if _, err := open[0].(io.ReaderAt).ReadAt(make([]byte, 1), 0); err == nil || err == io.EOF {
		h.Errorf("read after Close: %v", err)
	}
}

// openWhileDeleted opens contents that are just being deleted: each is there in whole, or not at all.
func openWhileDeleted(h *house) {
	inbox := h.box("INBOX").ID
	noise := make([]byte, 200_000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	text := "\r\n" + string(noise)
	whole := 0
	for i := range 60 {
		id := h.stage(text)
		h.do(mailbox.Add{Box: inbox, Blob: id, Marks: makeMarks(`\Deleted`)})
		var wg sync.WaitGroup
		wg.Go(func() {
			for range i % 6 { // whoever opens it again and again keeps it
				c, err := h.Open(h.Context(), id)
				if errors.Is(err, mailbox.ErrNoBlob) {
					return
				}
				if err != nil {
					h.Error(err)
					return
				}
				got, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
				if err != nil || string(got) != text {
					h.Errorf("%d octets, %v", len(got), err)
				}
				whole++
				h.check(c.Close())
			}
		})
		h.do(mailbox.Expunge{Box: inbox, UIDs: mailbox.AllUIDs()})
		wg.Wait()
	}
	if whole == 0 {
		h.Error("none was read")
	}
}

func discard(h *house) {
	inbox := h.box("INBOX").ID
	for _, size := range []int{100, 2 << 20} {
		id := h.stage(message(16, size))
		kept := h.stage(message(17, size))
		h.Discard(id)
		h.Discard(id)
		h.refuse(mailbox.ErrNoBlob, mailbox.Add{Box: inbox, Blob: id})
		h.do(mailbox.Add{Box: inbox, Blob: kept})
		h.Discard(kept) // does nothing: it is filed
		synctest.Wait()
		h.compare(kept, message(17, size))
		lost := h.stage(message(16, size))
		h.reopen()
		h.refuse(mailbox.ErrNoBlob, mailbox.Add{Box: inbox, Blob: lost})
	}
}

func stageFails(h *house) {
	boom := errors.New("boom")
	for _, size := range []int{0, 1000, 2 << 20} {
		_, err := h.Stage(h.Context(), io.MultiReader(strings.NewReader(message(16, size)), iotest.ErrReader(boom)))
		h.wants(err, boom)
	}
	synctest.Wait()
	h.file(h.box("INBOX").ID, letter)
}

// lookUp is the facts of contents, as copies.
func (h *house) lookUp(want mailbox.FactSet, ids ...mailbox.BlobID) (all []mailbox.Facts) {
	h.Helper()
	for f, err := range h.Facts(h.Context(), want, slices.Values(ids)) {
		h.check(err)
		c := *f
		for _, b := range []*[]byte{&c.Envelope, &c.Body, &c.BodyStructure, &c.Header} {
			*b = bytes.Clone(*b)
		}
		all = append(all, c)
	}
	return all
}

const everything = mailbox.WantEnvelope | mailbox.WantBody | mailbox.WantBodyStructure | mailbox.WantHeader | mailbox.WantParts

func facts(h *house) {
	inbox := h.box("INBOX").ID
	long := "X: " + strings.Repeat("h", mailbox.MaxCachedHeader) + "\r\n\r\nbody"
	for _, text := range []string{letter, "", "no header", long, message(16, 2<<20),
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" + letter + "--b--\r\n"} {
		id := h.stage(text)
		h.do(mailbox.Add{Box: inbox, Blob: id})
		p := mime.NewParser()
		_, err := io.WriteString(p, text)
		h.check(err)
		root := p.Close()
		header := []byte(text[:root.Header.Len])
		if len(header) > mailbox.MaxCachedHeader {
			header = nil
		}
		all := h.lookUp(everything, id)
		if len(all) != 1 {
			h.Fatalf("%d facts", len(all))
		}
		f := all[0]
		for _, c := range []struct{ got, want []byte }{
			{f.Envelope, mime.AppendEnvelope(nil, root.Envelope)}, {f.Body, mime.AppendBody(nil, root)},
			{f.BodyStructure, mime.AppendBodyStructure(nil, root)}, {f.Header, header}, {mime.AppendParts(nil, f.Parts), mime.AppendParts(nil, root)},
		} {
			if string(c.got) != string(c.want) {
				h.Errorf("%q; want %q", c.got, c.want)
			}
		}
		if (f.Header == nil) != (header == nil) || f.Size != int64(len(text)) || f.Blob != id {
			h.Errorf("%+v", f)
		}
		if only := h.lookUp(mailbox.WantBody, id)[0]; string(only.Body) != string(f.Body) {
			h.Errorf("%s; want %s", only.Body, f.Body)
		}
	}
}

func factsInAnyOrder(h *house) {
	inbox := h.box("INBOX").ID
	var ids []mailbox.BlobID
	for i := range 1500 {
		id := h.stage(fmt.Sprintf("Subject: %d\r\nX: %s\r\n\r\n", i, strings.Repeat("x", 2000)))
		ids = append(ids, id)
	}
	for part := range slices.Chunk(ids, 100) {
		var changes []mailbox.Mutation
		for _, id := range part {
			changes = append(changes, mailbox.Add{Box: inbox, Blob: id})
		}
		h.do(changes...)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, shuffled := range []bool{false, true} {
		ask := slices.Clone(ids)
		if shuffled {
			r.Shuffle(len(ask), func(i, j int) { ask[i], ask[j] = ask[j], ask[i] })
		}
		var with []mailbox.BlobID
		for i, id := range ask {
			with = append(with, id)
			if i%7 == 0 {
				with = append(with, ids[len(ids)-1]+mailbox.BlobID(i)+1, id) // one that is not, and one again
			}
		}
		n := 0
		for f, err := range h.Facts(h.Context(), mailbox.WantEnvelope|mailbox.WantHeader, slices.Values(with)) {
			h.check(err)
			for with[n] > ids[len(ids)-1] {
				n++
			}
			subject := fmt.Sprint(slices.Index(ids, f.Blob))
			if f.Blob != with[n] || !strings.Contains(string(f.Envelope), `"`+subject+`"`) || !strings.HasPrefix(string(f.Header), "Subject: "+subject+"\r\n") {
				h.Fatalf("%+v at %d", f, n)
			}
			n++
		}
		if n != len(with) {
			h.Errorf("%d of %d", n, len(with))
		}
	}
	next, stop := iter.Pull2(h.Facts(h.Context(), everything, slices.Values(ids)))
	next()
	h.do(mailbox.CreateBox{Name: "while reading"})
	stop()
}
