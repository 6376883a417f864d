package linkerdtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestTimersRunInOrderEachAtItsMoment(t *testing.T) {
	c := NewFake(epoch)
	var ran []string
	note := func(name string) func() {
		return func() { ran = append(ran, name+" "+c.Now().Sub(epoch).String()) }
	}
	c.AfterFunc(2*time.Second, note("b"))
	c.AfterFunc(time.Second, func() {
		note("a")()
		c.AfterFunc(time.Second, note("set by a"))
		c.AfterFunc(0, note("at once"))
	})
	stop := c.AfterFunc(time.Second, note("stopped"))
	stop()
	stop()
	c.AfterFunc(time.Hour, note("later"))
	c.Advance(time.Minute)
	require.Equal(t, []string{"a 1s", "at once 1s", "b 2s", "set by a 2s"}, ran)
	require.Equal(t, epoch.Add(time.Minute), c.Now())
	at, ok := c.Next()
	require.True(t, ok)
	require.Equal(t, epoch.Add(time.Hour), at)
}

func TestTimeDoesNotMoveWhileWorkIsUnderWay(t *testing.T) {
	c := NewFake(epoch)
	done := c.Begin()
	moved := make(chan time.Time)
	go func() {
		c.Advance(time.Hour)
		moved <- c.Now()
	}()
	seen := c.Now() // however far the other goroutine came, the clock stands
	done()
	require.Equal(t, epoch, seen)
	require.Equal(t, epoch.Add(time.Hour), <-moved)
}
