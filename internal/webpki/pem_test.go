package webpki_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

func block(label, body string) string {
	return "-----BEGIN " + label + "-----\n" + body + "\n-----END " + label + "-----\n"
}

func TestPEMSections(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want string // contents of the sections, joined by a comma, or the error
	}{
		"none":                                  {"", ""},
		"one":                                   {block("CERTIFICATE", "YWJj"), "abc"},
		"one, cut after the last dash":          {strings.TrimSpace(block("CERTIFICATE", "YWJj")), "abc"},
		"spaces after and between dashes":       {"-----BEGIN CERTIFICATE-- ---  \nYWJj\n-----END CERTIFICATE-----", "abc"},
		"text after END":                        {strings.TrimSpace(block("CERTIFICATE", "YWJj")) + " -----BEGIN X\n" + block("CERTIFICATE", "eHl6"), "abc,xyz"},
		"an empty section":                      {block("CERTIFICATE", ""), ""},
		"an unknown section with broken base64": {block("X", "***") + block("CERTIFICATE", "YWJj"), "abc"},
		"a known section with broken base64":    {block("PRIVATE KEY", "***") + block("CERTIFICATE", "YWJj"), "base64 decode error: InvalidCharacter(42)"},
		"END of another label":                  {"-----BEGIN CERTIFICATE-----\nYWJj\n-----END X-----\n", "missing section end marker: [67, 69, 82, 84, 73, 70, 73, 67, 65, 84, 69]"},
		"END of an empty label":                 {block("", "***") + block("CERTIFICATE", "YWJj"), "abc"},
		"BEGIN in a section keeps its base64":   {"-----BEGIN X-----\nYWJj\n" + block("CERTIFICATE", "eHl6"), "abcxyz"},
		"an unclosed unknown section":           {"-----BEGIN X-----\nYWJj", "missing section end marker: [88]"},
		"four dashes":                           {"-----BEGIN X----\n", "illegal section start: [45, 45, 45, 45, 45, 66, 69, 71, 73, 78, 32, 88, 45, 45, 45, 45]"},
		"six dashes":                            {"-----BEGIN X------\n", "illegal section start: [45, 45, 45, 45, 45, 66, 69, 71, 73, 78, 32, 88, 45, 45, 45, 45, 45, 45]"},
		"white space in base64":                 {block("CERTIFICATE", "Y\tW\vJ\f j"), "abc"},
		"two characters":                        {block("CERTIFICATE", "YW"), "a"},
		"three characters":                      {block("CERTIFICATE", "YWI"), "ab"},
		"bits left over":                        {block("CERTIFICATE", "YX=="), "a"},
		"one character":                         {block("CERTIFICATE", "Y"), "base64 decode error: InvalidTrailingPadding"},
		"one pad for two":                       {block("CERTIFICATE", "YW="), "base64 decode error: InvalidTrailingPadding"},
		"three pads":                            {block("CERTIFICATE", "Y==="), "base64 decode error: InvalidTrailingPadding"},
		"pads alone":                            {block("CERTIFICATE", "===="), "base64 decode error: InvalidTrailingPadding"},
		"a character after a pad":               {block("CERTIFICATE", "YW=j"), "base64 decode error: InvalidTrailingPadding"},
		"pads before the last group":            {block("CERTIFICATE", "YWI=YWJj"), "base64 decode error: PrematurePadding"},
		"pads long before the last group":       {block("CERTIFICATE", "YWI=YWJjYWJj"), "base64 decode error: PrematurePadding"},
		"a pad, then a bad character, 8 apart":  {block("CERTIFICATE", "YWI=YWJj*"), "base64 decode error: InvalidCharacter(42)"},
		"a pad, then a bad character, 9 apart":  {block("CERTIFICATE", "YWI=YWJjY*"), "base64 decode error: PrematurePadding"},
		"URL alphabet":                          {block("CERTIFICATE", "_-__"), "base64 decode error: InvalidCharacter(95)"},
	} {
		t.Run(name, func(t *testing.T) {
			sections, err := webpki.ReadPEM([]byte(tc.text))
			if err != nil {
				assert.Equal(t, tc.want, err.Error())
				return
			}
			var got []string
			for _, s := range sections {
				got = append(got, string(s.DER))
			}
			assert.Equal(t, tc.want, strings.Join(got, ","))
		})
	}
}

func TestPEMSectionsAreFoundInTheText(t *testing.T) {
	text := "# comment\r\n" + block("CERTIFICATE", "YWJj") + "\r\r" + block("X", "") + block("CERTIFICATE", "eHl6") + "\n-----BEGIN CERTIFICATE-----"
	sections, err := webpki.ReadPEM([]byte(text))
	require.Len(t, sections, 2)
	assert.Equal(t, 2, sections[0].Line)
	assert.Equal(t, 10, sections[1].Line)
	for _, s := range sections {
		assert.True(t, strings.HasPrefix(text[s.Offset:], "-----BEGIN CERTIFICATE-----"))
	}
	var fault *webpki.PEMError
	require.ErrorAs(t, err, &fault)
	assert.Equal(t, 14, fault.Line)
	assert.Equal(t, len(text)-len("-----BEGIN CERTIFICATE-----"), fault.Offset)
}

func TestBase64AgreesWithTheStandardWhereBothAccept(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for n := range all {
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding} {
			sections, err := webpki.ReadPEM([]byte(block("CERTIFICATE", enc.EncodeToString(all[:n]))))
			require.NoError(t, err)
			require.Len(t, sections, 1)
			assert.Equal(t, string(all[:n]), string(sections[0].DER))
		}
	}
}
