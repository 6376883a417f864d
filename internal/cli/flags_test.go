package cli_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/cli"
)

func TestDurationsAreReadWithDays(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1s": time.Second, "30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "87600h": 87600 * time.Hour,
		"0d1ns": 1, "1d0h": 24 * time.Hour, "1.5h": 90 * time.Minute, "106751d": 106751 * 24 * time.Hour,
	} {
		got, err := cli.ParseDuration(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{
		"", "0", "0d", "0h", "-1h", "-1d", "1d-1h", "d", "12", "1 d", "1d 1h", "1h1d", "1.5d", "1y", "106752d", "106751d24h",
		"99999999999999999999d", "9223372036854775807d", "2562048h", "ten days", "1d\n", "\x00",
	} {
		_, err := cli.ParseDuration(text)
		require.ErrorContains(t, err, "use a positive duration", text)
	}
}

func TestDurationsAreShownAsTheyAreTyped(t *testing.T) {
	for in, want := range map[string]string{
		"24h": "1d", "87600h": "3650d", "1h": "1h", "36h": "36h", "90m": "1h30m", "45s": "45s", "1d1h": "25h",
	} {
		got, err := cli.DurationText(in)
		require.NoError(t, err)
		require.Equal(t, want, got, in)
		again, err := cli.ParseDuration(got)
		require.NoError(t, err)
		first, err := cli.ParseDuration(in)
		require.NoError(t, err)
		require.Equal(t, first, again, "it can be read back")
	}
}

func TestWhatIsLeftIsToldInTheUnitOfAPerson(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{0, "in 0 seconds"}, {1, "in 0 seconds"}, {time.Second, "in 1 second"}, {59 * time.Second, "in 59 seconds"},
		{time.Minute, "in 1 minute"}, {90 * time.Second, "in 1 minute"}, {119 * time.Minute, "in 119 minutes"},
		{2 * time.Hour, "in 2 hours"}, {47 * time.Hour, "in 47 hours"}, {2 * day, "in 2 days"}, {89 * day, "in 89 days"},
		{90 * day, "in 3 months"}, {365 * day, "in 12 months"}, {2 * 365 * day, "in 2 years"}, {3650 * day, "in 10 years"},
		{3650*day - time.Hour, "in 10 years"}, {3640 * day, "in 9 years"},
		{math.MaxInt64, "in 292 years"},
		{-time.Second, "1 second ago"}, {-3 * day, "3 days ago"}, {-400 * day, "13 months ago"},
		{math.MinInt64, "292 years ago"}, {math.MinInt64 + 1, "292 years ago"},
	} {
		require.Equal(t, c.want, cli.Relative(c.d), "%v", c.d)
	}
}

func TestForeignTextCannotSteerATerminal(t *testing.T) {
	for in, want := range map[string]string{
		"plain name":                    "plain name",
		"Größe 根 корень 🔑":              "Größe 根 корень 🔑",
		"red\x1b[31m":                   "red\ufffd[31m",
		"two\nlines\r\nand\ttab":        "two lines  and tab",
		"c1 \u009b31m":                  "c1 \ufffd31m",
		"turned \u202egnp.exe":          "turned \ufffdgnp.exe",
		"isolate \u2066x\u2069":         "isolate \ufffdx\ufffd",
		"bad utf-8 \xff\xfe":            "bad utf-8 \ufffd",
		"zero\x00width\u200bjoin\u200d": "zero\ufffdwidth\ufffdjoin\ufffd",
		"no-break\u00a0space":           "no-break space",
	} {
		require.Equal(t, want, cli.Visible(in), "%q", in)
	}
}

func TestTheFormatIsFoundOnAWrongCommandLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"bundle", "show", "--bad", "-o", "json"}, "json"},
		{[]string{"--format", "json", "--bad"}, "json"},
		{[]string{"--bad", "--format=json"}, "json"},
		{[]string{"--bad", "-ojson"}, "json"},
		{[]string{"--bad", "-o=json"}, "json"},
		{[]string{"--bad", "-o", "yaml"}, "yaml"},
		{[]string{"--bad", "-o", "xml"}, "text"},
		{[]string{"--bad", "-o"}, "text"},
		{[]string{"--bad", "--", "-o", "json"}, "text"},
		{[]string{"--out", "json"}, "text"},
		{nil, "text"},
	} {
		require.Equal(t, c.want, cli.FormatIn(c.args), "%q", c.args)
	}
}
