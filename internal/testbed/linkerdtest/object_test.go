package linkerdtest

import (
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAMountShowsAChangeAfterItsLagAndTellsWhoWatches(t *testing.T) {
	c := NewFake(epoch)
	o := NewObject(c)
	write := func(s string) { o.Write(map[string][]byte{"f": []byte(s)}) }
	write("one")
	m := o.Mount("/mnt", time.Minute)
	told := 0
	m.Watch(func() { told++ })
	read := func() string {
		b, err := m.ReadFile("f")
		require.NoError(t, err)
		return string(b)
	}
	require.Equal(t, "one", read(), "the first version is there from the start")

	write("two")
	require.Equal(t, "two", string(o.Read()["f"]))
	c.Advance(time.Minute - 1)
	require.Equal(t, "one", read())
	c.Advance(1)
	require.Equal(t, "two", read())
	require.Equal(t, 1, told)

	write("three")
	c.Advance(time.Minute)
	require.Equal(t, "three", read())

	m.SetLag(24 * time.Hour)
	write("four")
	c.Advance(time.Hour)
	require.Equal(t, "three", read(), "stuck")
	m.SetLag(time.Second)
	require.Equal(t, "four", read())
	require.Equal(t, 3, told)

	o.Write(nil)
	c.Advance(time.Hour)
	require.Equal(t, "four", read(), "a volume outlives its object")
	_, err := m.ReadFile("g")
	require.EqualError(t, err, "open /mnt/g: no such file or directory")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestANewMountMayStillShowTheOldVersion(t *testing.T) {
	c := NewFake(epoch)
	o := NewObject(c)
	o.Write(map[string][]byte{"f": []byte("one")})
	c.Advance(time.Hour)
	o.Write(map[string][]byte{"f": []byte("two")})
	c.Advance(time.Second)
	m := o.Mount("/mnt", time.Minute)
	b, _ := m.ReadFile("f")
	require.Equal(t, "one", string(b))
	require.Equal(t, "one", string(o.At(time.Minute)["f"]), "and so does an environment that refers to it")
	c.Advance(time.Minute)
	b, _ = m.ReadFile("f")
	require.Equal(t, "two", string(b))
}
