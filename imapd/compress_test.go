package imapd

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/internal/link"
)

// What comes over a compressed connection need not be a command's: a client that sends empty blocks, or whose flush comes apart from what
// it ends, is still between two of them. It may be idle for as long as any, and a disconnect ends its session at once.
func TestEmptyBlocksAreNoCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, conn := net.Pipe()
		limits := Limits{LoginTime: time.Hour}.withDefaults()
		l := link.New(conn, limits.times())
		l.Layer(newDeflated)
		l.Await()
		ended := make(chan error, 1)
		go func() {
			_, err := l.Read(make([]byte, 1))
			ended <- err
		}()
		if _, err := client.Write([]byte{0, 0, 0, 0xff, 0xff, 0}); err != nil { // an empty stored block, and a part of another
			t.Fatal(err)
		}
		time.Sleep(limits.IdleTime / 2)
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatal(err)
		default:
		}
		l.Stop()
		synctest.Wait()
		select {
		case err := <-ended:
			if err == nil {
				t.Error("something was read")
			}
		default:
			t.Error("it waits on")
		}
		if err := errors.Join(client.Close(), l.Close()); err != nil {
			t.Error(err)
		}
	})
}
