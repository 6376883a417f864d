package cli

import (
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/windlass-mesh/windlass/internal/atomicfile"
)

// durationFlag is a time.Duration that also takes days, such as 30d or 1d12h.
type durationFlag struct{ d time.Duration }

var daysPrefix = regexp.MustCompile(`^(\d+)d`)

// Set reads the flag's text; pflag calls it.
func (f *durationFlag) Set(s string) error {
	d, err := parseDuration(s)
	if err != nil {
		return err
	}
	f.d = d
	return nil
}

func parseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a positive duration such as 30d, 720h or 1d12h", s)
	rest, total := s, time.Duration(0)
	if m := daysPrefix.FindStringSubmatch(s); m != nil {
		days, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil || days > math.MaxInt64/int64(24*time.Hour) {
			return 0, bad
		}
		total, rest = time.Duration(days)*24*time.Hour, s[len(m[0]):]
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 || total > math.MaxInt64-d {
			return 0, bad
		}
		total += d
	}
	if s == "" || total <= 0 {
		return 0, bad
	}
	return total, nil
}

// String writes whole days as days.
func (f *durationFlag) String() string {
	if f.d == 0 {
		return ""
	}
	if f.d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", f.d/(24*time.Hour))
	}
	s := f.d.String()
	for _, zero := range []string{"0s", "0m"} {
		if t := strings.TrimSuffix(s, zero); t != s && (strings.HasSuffix(t, "m") || strings.HasSuffix(t, "h")) {
			s = t
		}
	}
	return s
}

// Type names the flag's kind in the help.
func (f *durationFlag) Type() string { return "duration" }

// writeFile writes one public file, whole or not at all.
func (a *app) writeFile(name string, data []byte, mode fs.FileMode, force bool) error {
	if err := atomicfile.Write(name, data, atomicfile.Options{Mode: mode, Force: force}); err != nil {
		return fileError("write", name, err)
	}
	return nil
}
