package webpki

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func zeros(head []byte, n int) []byte { return append(head, make([]byte, n)...) }

func TestLengthsAreReadStrictly(t *testing.T) {
	for name, tc := range map[string]struct {
		der []byte
		len int // -1: BadDer
	}{
		"nothing":                        {nil, -1},
		"a tag alone":                    {[]byte{4}, -1},
		"empty":                          {[]byte{4, 0}, 0},
		"short":                          {zeros([]byte{4, 0x7f}, 0x7f), 0x7f},
		"one byte too few":               {zeros([]byte{4, 0x7f}, 0x7e), -1},
		"long form of one byte":          {zeros([]byte{4, 0x81, 0x80}, 0x80), 0x80},
		"that was not needed":            {zeros([]byte{4, 0x81, 0x7f}, 0x7f), -1},
		"long form of two bytes":         {zeros([]byte{4, 0x82, 1, 0}, 0x100), 0x100},
		"two where one was enough":       {zeros([]byte{4, 0x82, 0, 0xff}, 0xff), -1},
		"the longest value":              {zeros([]byte{4, 0x82, 0xff, 0xfe}, 0xfffe), 0xfffe},
		"one byte too long":              {zeros([]byte{4, 0x82, 0xff, 0xff}, 0xffff), -1},
		"three bytes":                    {zeros([]byte{4, 0x83, 1, 0, 0}, 0x10000), -1},
		"four bytes":                     {[]byte{4, 0x84, 0xff, 0xff, 0xff, 0xff}, -1},
		"five bytes":                     {[]byte{4, 0x85, 0, 0, 0, 0, 1, 0}, -1},
		"indefinite":                     {[]byte{4, 0x80, 0, 0}, -1},
		"a long form that is cut":        {[]byte{4, 0x82, 1}, -1},
		"a high tag number":              {[]byte{0x1f, 1, 0}, -1},
		"a high tag number, constructed": {[]byte{0x7f, 1, 0}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			r := reader{tc.der}
			_, val, err := r.value()
			if tc.len < 0 {
				assert.Equal(t, errBadDer, err)
				return
			}
			assert.Nil(t, err)
			assert.Len(t, val, tc.len)
			assert.True(t, r.empty())
		})
	}
}

func TestSmallIntegers(t *testing.T) {
	for v := range 256 {
		der := []byte{2, 1, byte(v)}
		if v > 127 {
			der = []byte{2, 2, 0, byte(v)}
		}
		r := reader{der}
		got, err := r.small()
		assert.Nil(t, err)
		assert.Equal(t, v, got)
	}
	for _, bad := range [][]byte{{2, 0}, {2, 1, 0x80}, {2, 2, 0, 5}, {2, 2, 1, 0}, {3, 1, 1}, {2, 3, 0, 1, 0}} {
		r := reader{bad}
		_, err := r.small()
		assert.Equal(t, errBadDer, err, "%x", bad)
	}
}

func TestTimes(t *testing.T) {
	for text, want := range map[string]string{
		"\x17500101000000Z":   "", // 1950
		"\x17700101000000Z":   "1970-01-01T00:00:00Z",
		"\x17991231235959Z":   "1999-12-31T23:59:59Z",
		"\x17000229000000Z":   "2000-02-29T00:00:00Z",
		"\x17491231235959Z":   "2049-12-31T23:59:59Z",
		"\x1819700101000000Z": "1970-01-01T00:00:00Z",
		"\x1899991231235959Z": "9999-12-31T23:59:59Z",
		"\x1821000229000000Z": "",
		"\x1800000101000000Z": "",
		"\x17260101000000":    "",
		"\x172601010000Z":     "",
		"\x17261301000000Z":   "",
		"\x17260100000000Z":   "",
		"\x17260101240000Z":   "",
		"\x17260101006000Z":   "",
		"\x1726 101000000Z":   "",
		"\x17":                "",
	} {
		r := reader{append([]byte{text[0], byte(len(text) - 1)}, text[1:]...)}
		got, err := r.time()
		if want == "" {
			assert.Equal(t, BadDerTime, err.Kind, "%q", text)
			continue
		}
		assert.Nil(t, err, "%q", text)
		assert.Equal(t, want, time.Unix(got, 0).UTC().Format(time.RFC3339))
	}
}

func TestBitFlags(t *testing.T) {
	for _, tc := range []struct {
		val  []byte
		want string
	}{
		{[]byte{0}, "false"},
		{[]byte{1, 0x06}, "true"},
		{[]byte{7, 0x80}, "false"},
		{[]byte{0, 0, 0x80}, "false"},
		{[]byte{2, 0x04}, "true"},
		{[]byte{}, "BadDer"},
		{[]byte{1}, "BadDer"},
		{[]byte{8, 0x06}, "BadDer"},
		{[]byte{3, 0x04}, "BadDer"},
	} {
		got, err := bitFlag(tc.val, 5)
		if err != nil {
			assert.Equal(t, tc.want, err.Error(), "%x", tc.val)
			continue
		}
		assert.Equal(t, tc.want, fmt.Sprint(got), "%x", tc.val)
	}
}
