package cli

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/windlass-mesh/windlass/bundle"
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
	bad := errors.New("use a positive duration such as 30d, 720h or 1d12h, of at most 106751 days")
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
func (f *durationFlag) Type() string { return "DURATION" }

// backdateFlag is a duration that may be none: "0" is what package issuer calls
// a negative one.
type backdateFlag struct{ durationFlag }

// Set reads the flag's text.
func (f *backdateFlag) Set(s string) error {
	if d, err := time.ParseDuration(s); err == nil && d == 0 {
		f.d = -1
		return nil
	}
	return f.durationFlag.Set(s)
}

// String is that of a duration.
func (f *backdateFlag) String() string {
	if f.d < 0 {
		return "0"
	}
	return f.durationFlag.String()
}

// timeFlag is a moment, RFC3339; zero when not given.
type timeFlag struct{ t time.Time }

// Set reads the flag's text.
func (f *timeFlag) Set(s string) (err error) {
	if f.t, err = time.Parse(time.RFC3339, s); err != nil {
		return errors.New("use an RFC3339 time such as 2027-01-31T12:00:00Z")
	}
	return nil
}

// String writes it as it is read.
func (f *timeFlag) String() string {
	if f.t.IsZero() {
		return ""
	}
	return f.t.Format(time.RFC3339)
}

// Type names the flag's kind in the help.
func (f *timeFlag) Type() string { return "TIME" }

// enumFlag is one of a few words.
type enumFlag struct {
	value *string
	of    []string
}

// Set takes one of the words.
func (f *enumFlag) Set(s string) error {
	if !slices.Contains(f.of, s) {
		last := len(f.of) - 1
		return fmt.Errorf("use %s or %s", strings.Join(f.of[:last], ", "), f.of[last])
	}
	*f.value = s
	return nil
}

// String is the word.
func (f *enumFlag) String() string {
	if f.value == nil {
		return ""
	}
	return *f.value
}

// Type lists the words in the help.
func (f *enumFlag) Type() string { return strings.Join(f.of, "|") }

// completeEnum lets the shell complete the words and the releases.
func completeEnum(c *cobra.Command) func(*pflag.Flag) {
	return func(f *pflag.Flag) {
		if e, ok := f.Value.(*enumFlag); ok {
			_ = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(e.of, cobra.ShellCompDirectiveNoFileComp))
		}
		if _, ok := f.Value.(*releasesFlag); ok {
			var known []string
			for _, r := range bundle.Releases() {
				known = append(known, r.String())
			}
			_ = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(known, cobra.ShellCompDirectiveNoFileComp))
		}
	}
}

// releasesFlag is a list of Linkerd releases, given one by one or together as
// "2.19,2.20".
type releasesFlag struct{ releases []bundle.Release }

// Set adds releases.
func (f *releasesFlag) Set(s string) error {
	names := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '|' || r == ' ' })
	if len(names) == 0 {
		return errors.New("use a Linkerd release such as 2.20")
	}
	for _, n := range names {
		r, err := bundle.ParseRelease(n)
		if err != nil {
			return err
		}
		f.releases = append(f.releases, r)
	}
	return nil
}

// String lists the releases.
func (f *releasesFlag) String() string {
	names := make([]string, len(f.releases))
	for i, r := range f.releases {
		names[i] = r.String()
	}
	return strings.Join(names, ",")
}

// Type names the flag's kind in the help.
func (f *releasesFlag) Type() string { return "RELEASE" }
