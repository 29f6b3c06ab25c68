package imapd

import (
	"bytes"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// A client of others, with a parser of its own, understands what is said in both dialects.
func TestImapclient(t *testing.T) {
	for version, name := range map[string]string{"IMAP4rev1": "Entered/more", "IMAP4rev2": "Entwürfe/日本語"} {
		t.Run(version, func(t *testing.T) {
			_, addr := start(t, testOptions(t))
			told := make(chan uint32, 10)
			c, err := imapclient.DialInsecure(addr, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
				Mailbox: func(data *imapclient.UnilateralDataMailbox) {
					if data.NumMessages != nil {
						told <- *data.NumMessages
					}
				},
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			check(t, c.Login("bob@south.test", "posthouse").Wait())
			if version == "IMAP4rev2" {
				enabled, err := c.Enable(imap.CapIMAP4rev2).Wait()
				check(t, err)
				if !enabled.Caps.Has(imap.CapIMAP4rev2) {
					t.Error(enabled)
				}
			}
			boxes(t, c, name)
			messages(t, c)
			idling(t, c, addr, told)
			check(t, c.Logout().Wait())
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func boxes(t *testing.T, c *imapclient.Client, name string) {
	t.Helper()
	check(t, c.Create(name, nil).Wait())
	list, err := c.List("", "Ent*", &imap.ListOptions{
		ReturnSubscribed: true, ReturnStatus: &imap.StatusOptions{NumMessages: true, UIDNext: true, NumUnseen: true},
	}).Collect()
	check(t, err)
	if len(list) != 2 || list[1].Mailbox != name || list[1].Status == nil || *list[1].Status.NumMessages != 0 {
		t.Errorf("%+v", list)
	}
	space, err := c.Namespace().Wait()
	check(t, err)
	if len(space.Personal) != 1 || space.Personal[0].Delim != '/' {
		t.Errorf("%+v", space)
	}
}

func messages(t *testing.T, c *imapclient.Client) {
	t.Helper()
	when := time.Date(1996, 7, 17, 2, 44, 25, 0, time.FixedZone("", -7*3600))
	text := []byte(benchMessage(7))
	appending := c.Append("INBOX", int64(len(text)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagFlagged, "$Forwarded"}, Time: when})
	_, err := appending.Write(text)
	check(t, err)
	check(t, appending.Close())
	appended, err := appending.Wait()
	check(t, err)
	box, err := c.Select("INBOX", nil).Wait()
	check(t, err)
	if box.NumMessages != 1 || box.UIDValidity != appended.UIDValidity || box.UIDNext != appended.UID+1 {
		t.Errorf("%+v, appended %+v", box, appended)
	}
	whole, part := &imap.FetchItemBodySection{Peek: true}, &imap.FetchItemBodySection{Part: []int{2}, Peek: true}
	fetched, err := c.Fetch(imap.SeqSetNum(1), &imap.FetchOptions{
		UID: true, Flags: true, Envelope: true, InternalDate: true, RFC822Size: true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true}, BodySection: []*imap.FetchItemBodySection{whole, part},
	}).Collect()
	check(t, err)
	m := fetched[0]
	structure, isMultipart := m.BodyStructure.(*imap.BodyStructureMultiPart)
	switch {
	case !bytes.Equal(m.FindBodySection(whole), text):
		t.Errorf("%q", m.FindBodySection(whole))
	case string(m.FindBodySection(part)) != "<p>Hello.</p>":
		t.Errorf("%q", m.FindBodySection(part))
	case !isMultipart || len(structure.Children) != 2 || structure.Subtype != "alternative":
		t.Errorf("%+v", m.BodyStructure)
	case m.Envelope.Subject != "Message number 7 about things" || m.Envelope.From[0].Addr() != "gray7@north.example" || len(m.Envelope.To) != 2:
		t.Errorf("%+v", m.Envelope)
	case !m.InternalDate.Equal(when) || m.RFC822Size != int64(len(text)) || m.UID != appended.UID || len(m.Flags) != 2:
		t.Errorf("%+v", m)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "THINGS"}}}, &imap.SearchOptions{
		ReturnAll: true, ReturnCount: true,
	}).Wait()
	check(t, err)
	if found.Count != 1 || found.All.String() != "1" {
		t.Errorf("%+v", found)
	}
	copied, err := c.Copy(imap.SeqSetNum(1), "Archive").Wait()
	check(t, err)
	if copied.SourceUIDs.String() != "1" || copied.DestUIDs.String() != "1" {
		t.Errorf("%+v", copied)
	}
	moved, err := c.Move(imap.UIDSetNum(1), "Trash").Wait()
	check(t, err)
	if moved.DestUIDs.(imap.UIDSet).String() != "1" || c.Mailbox().NumMessages != 0 {
		t.Errorf("%+v, %+v", moved, c.Mailbox())
	}
}

func idling(t *testing.T, c *imapclient.Client, addr string, told <-chan uint32) {
	t.Helper()
	idle, err := c.Idle()
	check(t, err)
	other := dial(t, addr)
	other.send("l LOGIN bob@south.test posthouse\r\na APPEND INBOX {3+}\r\nabc\r\n")
	other.until("a OK")
	for n := range told {
		if n == 1 {
			break
		}
	}
	check(t, idle.Close())
	check(t, idle.Wait())
}
