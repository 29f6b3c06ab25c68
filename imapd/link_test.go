package imapd

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// What comes over a compressed connection need not be a command's: a client that sends empty blocks, or whose flush comes apart from what
// it ends, is still between two of them. It may be idle for as long as any, and a disconnect ends its session at once.
func TestEmptyBlocksAreNoCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, conn := net.Pipe()
		limits := Limits{}.withDefaults()
		l := &link{limits: &limits, conn: conn}
		l.deflated = newDeflated(l)
		l.await()
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
		l.stop()
		synctest.Wait()
		select {
		case err := <-ended:
			if err == nil {
				t.Error("something was read")
			}
		default:
			t.Error("it waits on")
		}
		if err := errors.Join(client.Close(), l.close()); err != nil {
			t.Error(err)
		}
	})
}

// A session that is to end does so soon, though its client takes the answer under way as slowly as it may.
func TestSlowReaderDoesNotStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, conn := net.Pipe()
		limits := Limits{}.withDefaults()
		l := &link{limits: &limits, conn: conn}
		l.begin()
		var wrote error
		var ended time.Time
		go func() {
			for wrote == nil {
				_, wrote = l.Write([]byte("x"))
			}
			ended = time.Now()
			conn.Close()
		}()
		go func() {
			for b := make([]byte, 1); ; time.Sleep(limits.WriteTime / 2) {
				if _, err := client.Read(b); err != nil {
					return
				}
			}
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		stopped := time.Now()
		l.stop()
		time.Sleep(time.Hour)
		synctest.Wait()
		if took := ended.Sub(stopped); took != lastCommand {
			t.Errorf("it ends after %s: %v", took, wrote)
		}
	})
}
