package link

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A session that is to end does so soon, though its client takes the answer under way as slowly as it may.
func TestSlowReaderDoesNotStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, conn := net.Pipe()
		l := New(conn, Times{Write: time.Minute})
		l.Begin()
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
			for b := make([]byte, 1); ; time.Sleep(l.times.Write / 2) {
				if _, err := client.Read(b); err != nil {
					return
				}
			}
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		stopped := time.Now()
		l.Stop()
		time.Sleep(time.Hour)
		synctest.Wait()
		if took := ended.Sub(stopped); took != lastCommand {
			t.Errorf("it ends after %s: %v", took, wrote)
		}
	})
}

// half is a connection of which one direction can be closed.
type half struct{ net.Conn }

func (half) CloseWrite() error { return nil }

// A session whose client does not close its side ends no later because the server is to stop.
func TestStopDoesNotProlongTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conn := net.Pipe()
		l := New(half{conn}, Times{})
		began := time.Now()
		var took time.Duration
		go func() {
			l.Linger()
			took = time.Since(began)
		}()
		synctest.Wait()
		l.Stop()
		time.Sleep(time.Hour)
		synctest.Wait()
		if took != lingerTime {
			t.Errorf("it ends after %s", took)
		}
	})
}
