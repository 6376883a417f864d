package bundle_test

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/bundle"
)

func utf16le(s string, mark bool) string {
	var b strings.Builder
	if mark {
		b.WriteString("\xff\xfe")
	}
	for _, u := range utf16.Encode([]rune(s)) {
		b.WriteByte(byte(u))
		b.WriteByte(byte(u >> 8))
	}
	return b.String()
}

// Nothing that may have been a certificate is passed over in silence, and the
// error points at the line to mend.
func TestParseRefusesEveryKindOfJunkAndNamesTheLine(t *testing.T) {
	lab := newLab()
	a, b := lab.Root("a").PEM(), lab.Root("b").PEM()
	aLines := strings.Count(a, "\n")
	bare := strings.TrimSuffix(a, "\n")
	lines := strings.SplitAfter(a, "\n")
	body := strings.Join(lines[1:aLines-1], "")
	der, _ := pem.Decode([]byte(a))
	block := func(label string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der.Bytes}))
	}
	indent := func(s, by string) string {
		return by + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n"+by) + "\n"
	}
	cut := func(s string, n int) string { return strings.Join(strings.SplitAfter(s, "\n")[:n], "") }
	joined := strings.ReplaceAll(bare, "\n", " ")

	for name, c := range map[string]struct {
		text string
		line int
		code bundle.Code
		says string
	}{
		"UTF-16 with a mark":                 {utf16le(a, true), 1, bundle.CodeBrokenBlock, "UTF-16"},
		"UTF-16 without a mark":              {utf16le(a, false), 1, bundle.CodeBrokenBlock, "UTF-16"},
		"DER":                                {string(der.Bytes), 1, bundle.CodeBrokenBlock, "DER"},
		"no END, then another block":         {cut(a, 4) + b, 1, bundle.CodeBrokenBlock, "no END line"},
		"no END at all":                      {b + cut(a, 4), aLines + 1, bundle.CodeBrokenBlock, "cut off"},
		"cut in the middle of a line":        {b + a[:200], aLines + 1, bundle.CodeBrokenBlock, "cut off"},
		"no BEGIN":                           {b + strings.Join(lines[1:], ""), aLines + 1, bundle.CodeBrokenBlock, "BEGIN line is missing"},
		"END alone":                          {b + "-----END CERTIFICATE-----\n", aLines + 1, bundle.CodeBrokenBlock, "misplaced"},
		"base64 without markers":             {b + "\n" + body, aLines + 2, bundle.CodeBrokenBlock, "base64 outside a block"},
		"DER in base64 on one line":          {base64.StdEncoding.EncodeToString(der.Bytes), 1, bundle.CodeBrokenBlock, "base64 outside"},
		"PEM in base64 once more":            {b + "ca.crt: " + base64.StdEncoding.EncodeToString([]byte(a)) + "\n", aLines + 1, bundle.CodeBrokenBlock, "once more"},
		"a line missing":                     {b + strings.Replace(a, lines[3], "", 1), aLines + 1, bundle.CodeBrokenBlock, "broken"},
		"a character missing":                {b + strings.Replace(a, lines[3][:8], lines[3][:7], 1), aLines + 1, bundle.CodeBrokenBlock, "base64 does not decode"},
		"a character too many":               {strings.Replace(a, lines[3], "*"+lines[3], 1), 1, bundle.CodeBrokenBlock, "base64 does not decode"},
		"a NUL in the base64":                {strings.Replace(a, lines[3], "\x00"+lines[3], 1), 1, bundle.CodeBrokenBlock, "base64 does not decode"},
		"url-safe base64":                    {strings.Replace(a, lines[3][:3], "a-b", 1), 4, bundle.CodeBrokenBlock, "not base64"},
		"padding cut off":                    {"-----BEGIN CERTIFICATE-----\nMIIA\nMIIAM\n-----END CERTIFICATE-----\n", 1, bundle.CodeBrokenBlock, "base64 does not decode"},
		"an empty block":                     {b + "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", aLines + 1, bundle.CodeBrokenBlock, "not a certificate"},
		"a block of something else":          {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 1, bundle.CodeBrokenBlock, "not a certificate"},
		"two certificates in a block":        {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: append(der.Bytes, der.Bytes...)})), 1, bundle.CodeUnreadableByIdentity, "trailing data"},
		"a header":                           {strings.Replace(a, "-----\n", "-----\nCluster: east\n\n", 1), 2, bundle.CodeBrokenBlock, "a header (Cluster)"},
		"headers of an old encryption":       {b + strings.Replace(a, "-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1), aLines + 2, bundle.CodeBrokenBlock, "a header (Proc-Type)"},
		"indented with spaces":               {indent(a, "  "), 1, bundle.CodeBrokenBlock, "indented"},
		"indented with a tab":                {b + indent(a, "\t"), aLines + 1, bundle.CodeBrokenBlock, "indented"},
		"all but the first line indented":    {"-----BEGIN CERTIFICATE-----\n" + strings.SplitAfterN(indent(a, "  "), "\n", 2)[1], aLines, bundle.CodeBrokenBlock, "indented"},
		"en dashes":                          {b + strings.ReplaceAll(a, "-----", "–––––"), aLines + 1, bundle.CodeBrokenBlock, "dashes that a text editor has replaced"},
		"em dashes":                          {strings.ReplaceAll(a, "-----", "——–"), 1, bundle.CodeBrokenBlock, "dashes that a text editor has replaced"},
		"four dashes":                        {strings.ReplaceAll(a, "-----", "----"), 1, bundle.CodeBrokenBlock, "damaged"},
		"six dashes":                         {strings.ReplaceAll(a, "-----", "------"), 1, bundle.CodeBrokenBlock, "damaged"},
		"three dashes on one side":           {b + strings.Replace(a, "CERTIFICATE-----", "CERTIFICATE---", 1), aLines + 1, bundle.CodeBrokenBlock, "damaged"},
		"small letters":                      {strings.ReplaceAll(a, "BEGIN CERTIFICATE", "begin certificate"), 1, bundle.CodeBrokenBlock, "damaged"},
		"no label":                           {strings.ReplaceAll(a, "CERTIFICATE", ""), 1, bundle.CodeBrokenBlock, "damaged"},
		"text before BEGIN on its line":      {"ca: " + a, 1, bundle.CodeBrokenBlock, "damaged or misplaced"},
		"text after BEGIN on its line":       {strings.Replace(a, "CERTIFICATE-----\n", "CERTIFICATE----- root\n", 1), 1, bundle.CodeBrokenBlock, "damaged or misplaced"},
		"base64 on the BEGIN line":           {strings.Replace(a, "CERTIFICATE-----\n", "CERTIFICATE-----", 1), 1, bundle.CodeBrokenBlock, "damaged or misplaced"},
		"END on the last base64 line":        {b + strings.Replace(a, "\n-----END", "-----END", 1), 2*aLines - 1, bundle.CodeBrokenBlock, "a line of its own"},
		"all on one line":                    {b + joined, aLines + 1, bundle.CodeBrokenBlock, "one line"},
		"END and BEGIN with a space between": {bare + " " + b, aLines, bundle.CodeBrokenBlock, "misplaced"},
		"escaped line ends":                  {strings.ReplaceAll(a, "\n", `\n`), 1, bundle.CodeBrokenBlock, `\n as two characters`},
		"a byte order mark in the middle":    {a + "\ufeff" + b, aLines + 1, bundle.CodeBrokenBlock, "byte order mark"},
		"a private key":                      {b + block("PRIVATE KEY"), aLines + 1, bundle.CodePrivateKeyPresent, "private key"},
		"an EC private key":                  {block("EC PRIVATE KEY") + b, 1, bundle.CodePrivateKeyPresent, "private key"},
		"an encrypted private key":           {block("ENCRYPTED PRIVATE KEY"), 1, bundle.CodePrivateKeyPresent, "private key"},
		"an OpenSSH private key":             {block("OPENSSH PRIVATE KEY"), 1, bundle.CodePrivateKeyPresent, "private key"},
		"EC parameters":                      {a + block("EC PARAMETERS") + b, aLines + 1, bundle.CodeForeignBlock, `"EC PARAMETERS"`},
		"a request":                          {a + block("CERTIFICATE REQUEST"), aLines + 1, bundle.CodeForeignBlock, "not a certificate"},
		"a new request":                      {a + block("NEW CERTIFICATE REQUEST"), aLines + 1, bundle.CodeForeignBlock, "not a certificate"},
		"a trusted certificate":              {a + block("TRUSTED CERTIFICATE"), aLines + 1, bundle.CodeForeignBlock, "only CERTIFICATE"},
		"an X509 certificate":                {block("X509 CERTIFICATE"), 1, bundle.CodeForeignBlock, "only CERTIFICATE"},
		"a label in mixed case":              {block("Certificate"), 1, bundle.CodeForeignBlock, "only CERTIFICATE"},
		"a label with a space at its end":    {strings.ReplaceAll(a, "CERTIFICATE", "CERTIFICATE "), 1, bundle.CodeForeignBlock, "only CERTIFICATE"},
		"PKCS7":                              {block("PKCS7"), 1, bundle.CodeForeignBlock, `"PKCS7"`},
		"a CRL":                              {a + block("X509 CRL"), aLines + 1, bundle.CodeForeignBlock, "not a certificate"},
		"a foreign block without END":        {a + cut(block("EC PARAMETERS"), 3), aLines + 1, bundle.CodeBrokenBlock, "no END line"},
		"BEGIN and END that differ":          {b + strings.Replace(a, "END CERTIFICATE", "END CERT", 1), 2 * aLines, bundle.CodeBrokenBlock, `ends as "CERT"`},
		"what Go refuses":                    {string(vectorText(t, "certificates/negative-serial-only")), 1, bundle.CodeUnreadableByIdentity, "negative serial"},
		"an open block before a whole one":   {"-----BEGIN CERTIFICATE-----\n" + a, 1, bundle.CodeBrokenBlock, "no END line"},
		"CR-only with a fault":               {strings.ReplaceAll(b+block("EC PARAMETERS"), "\n", "\r"), aLines + 1, bundle.CodeForeignBlock, "EC PARAMETERS"},
		"CRLF with a fault":                  {strings.ReplaceAll(b+block("EC PARAMETERS"), "\n", "\r\n"), aLines + 1, bundle.CodeForeignBlock, "EC PARAMETERS"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := bundle.Parse([]byte(c.text))
			require.Error(t, err)
			require.Nil(t, got)
			var bad *bundle.ParseError
			require.ErrorAs(t, err, &bad)
			first := bad.Issues[0]
			require.Equal(t, c.line, first.Line, first.Message)
			require.Equal(t, c.code, first.Code, first.Message)
			require.Contains(t, first.Message, c.says)
			require.Contains(t, err.Error(), fmt.Sprintf("line %d: ", c.line))
		})
	}
}

func TestParseTakesHarmlessText(t *testing.T) {
	lab := newLab()
	ca, cb := lab.Root("a"), lab.Root("b")
	a, b := ca.PEM(), cb.PEM()
	both := bundleOf(t, ca, cb)
	bare := strings.TrimSuffix(a, "\n")
	narrow := func(s string, width int) string {
		der, _ := pem.Decode([]byte(s))
		text, out := base64.StdEncoding.EncodeToString(der.Bytes), "-----BEGIN CERTIFICATE-----\n"
		for len(text) > 0 {
			n := min(width, len(text))
			out, text = out+text[:n]+"\n", text[n:]
		}
		return out + "-----END CERTIFICATE-----\n"
	}
	for name, text := range map[string]string{
		"as it is":                       a + b,
		"CRLF":                           strings.ReplaceAll(a+b, "\n", "\r\n"),
		"CR only":                        strings.ReplaceAll(a+b, "\n", "\r"),
		"mixed line ends":                strings.ReplaceAll(a, "\n", "\r") + strings.ReplaceAll(b, "\n", "\r\n"),
		"no final newline":               a + strings.TrimSuffix(b, "\n"),
		"blank lines":                    "\n\n" + a + "\n \n" + b + "\n\n",
		"spaces at line ends":            strings.ReplaceAll(a+b, "\n", " \t\n"),
		"blank lines inside":             strings.ReplaceAll(a+b, "-----\n", "-----\n\n"),
		"glued, as cat leaves them":      bare + b,
		"a byte order mark":              "\ufeff" + a + b,
		"comments":                       "# " + strings.ReplaceAll(bare, "\n", "\n# ") + "\n" + a + "# east -----BEGIN CERTIFICATE-----\n" + b,
		"a certificate twice":            a + b + a,
		"openssl's headings":             "subject=CN = a\nissuer=CN = a\n" + a + " 1 s:CN = b\n   i:CN = b\n" + b,
		"what openssl x509 -text prints": "Certificate:\n    Data:\n        Version: 3 (0x2)\n        Serial Number:\n            3f:5a:11\n" + a + b,
		"words about certificates":       "The end of the old root is near. Do not begin without a backup -- really.\n" + a + b,
		"a rule of dashes":               a + "----------\n" + b,
		"lines of one character":         narrow(a, 1) + b,
		"all base64 on one line":         narrow(a, 100_000) + b,
		"a NUL at the end":               a + b + "\x00",
		"a form feed at the end":         a + b + "\f\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := bundle.Parse([]byte(text))
			require.NoError(t, err)
			require.True(t, got.Equal(both), "%d certificates", got.Len())
		})
	}
	empty, err := bundle.Parse(nil)
	require.NoError(t, err)
	require.Zero(t, empty.Len())
}

func TestParseSaysEverythingThereIsToMend(t *testing.T) {
	a := newLab().Root("a").PEM()
	text := "-----BEGIN CERTIFICATE-----\n" + a + "  " + a + strings.ReplaceAll(a, "-----", "----")
	_, err := bundle.Parse([]byte(text))
	var bad *bundle.ParseError
	require.ErrorAs(t, err, &bad)
	require.Greater(t, len(bad.Issues), 3)
	require.Contains(t, err.Error(), fmt.Sprintf("(and %d more)", len(bad.Issues)-1))
	lines := 0
	for _, i := range bad.Issues {
		if strings.Contains(i.Message, "base64 outside") {
			lines++
		}
	}
	require.Equal(t, 2, lines, "a run of lines is one issue")
}

func TestTheLineIsRightFarDown(t *testing.T) {
	a := newLab().Root("a").PEM()
	for _, end := range []string{"\n", "\r\n", "\r"} {
		text := strings.Repeat(a, 500)
		_, err := bundle.Parse([]byte(strings.ReplaceAll(text+"\n-----BEGIN X-----\n-----END X-----\n", "\n", end)))
		require.ErrorContains(t, err, fmt.Sprintf("line %d: ", strings.Count(text, "\n")+2), "%q", end)
		broken := strings.ReplaceAll(text+strings.Replace(a, "\nMI", "\nMM", 1), "\n", end)
		_, err = bundle.Parse([]byte(broken))
		require.ErrorContains(t, err, fmt.Sprintf("line %d: the certificate in lines %d to %d is broken",
			strings.Count(text, "\n")+1, strings.Count(text, "\n")+1, strings.Count(text+a, "\n")), "%q", end)
	}
}

func TestAFileOfNothingButJunkIsRefusedInBoundedSpace(t *testing.T) {
	for name, text := range map[string]string{
		"markers":      strings.Repeat("x -----BEGIN CERTIFICATE-----\n", 200_000),
		"open blocks":  strings.Repeat("-----BEGIN CERTIFICATE-----\n", 200_000),
		"empty blocks": strings.Repeat("-----BEGIN A-----\n-----END A-----\n", 200_000),
		"CR only":      strings.Repeat("-----END A-----\r", 200_000),
		"glued":        strings.Repeat("-----END CERTIFICATE----------BEGIN CERTIFICATE-----\n", 100_000),
	} {
		_, err := bundle.Parse([]byte(text))
		var bad *bundle.ParseError
		require.ErrorAs(t, err, &bad, name)
		require.LessOrEqual(t, len(bad.Issues), 1000, name)
	}
}

// Warnings are bounded too, and never crowd out an error.
func TestManyWarningsDoNotHideAnError(t *testing.T) {
	a := newLab().Root("a").PEM()
	glued := strings.Repeat(strings.TrimSuffix(a, "\n"), 3000)
	_, err := bundle.Parse([]byte(glued + "\n----BEGIN CERTIFICATE----\n"))
	require.ErrorContains(t, err, "damaged")
}

// A key that stands where it should not, in whatever shape, is never repeated:
// errors and findings end in logs and tickets.
func TestPrivateKeysAreNeverEchoed(t *testing.T) {
	root := newLab().Root("a")
	key, a := root.KeyPEM(), root.PEM()
	body := strings.Join(strings.Split(strings.TrimSpace(key), "\n")[1:4], "")
	oneLine := strings.ReplaceAll(strings.TrimSpace(key), "\n", "")
	for name, text := range map[string]string{
		"a block":                        a + key,
		"on one line":                    a + oneLine + "\n" + a,
		"on one line with spaces":        strings.ReplaceAll(strings.TrimSpace(key), "\n", " "),
		"escaped":                        strings.ReplaceAll(key, "\n", `\n`),
		"four dashes":                    strings.ReplaceAll(key, "-----", "----"),
		"no markers":                     a + body,
		"no END":                         strings.SplitAfter(key, "\n-----END")[0],
		"in a certificate block":         "-----BEGIN CERTIFICATE-----\n" + body + "\n-----END CERTIFICATE-----\n",
		"as a header's value":            "-----BEGIN CERTIFICATE-----\nkey: " + body + "\n-----END CERTIFICATE-----\n",
		"as a header's name":             "-----BEGIN CERTIFICATE-----\n" + body + ": 1\n-----END CERTIFICATE-----\n",
		"as a label":                     "-----BEGIN " + body + "-----\nAAAA\n-----END " + body + "-----\n",
		"as a label that ends otherwise": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END " + body + "-----\n",
		"after a BEGIN":                  "-----BEGIN CERTIFICATE----- " + body + "\n",
		"before an END":                  "-----BEGIN CERTIFICATE-----\nAAAA\n" + body + "-----END CERTIFICATE-----\n",
		"behind a word":                  "PRIVATE_KEY=" + body + "\n" + a,
	} {
		t.Run(name, func(t *testing.T) {
			var said []string
			if _, err := bundle.Parse([]byte(text)); err != nil {
				var bad *bundle.ParseError
				require.True(t, errors.As(err, &bad))
				for _, i := range bad.Issues {
					said = append(said, i.Error())
				}
			}
			src, err := bundle.ReadSource("x", []byte(text))
			require.NoError(t, err)
			for _, f := range bundle.Lint(src, bundle.LintOptions{Now: now}) {
				said = append(said, f.Message, f.Hint, f.Subject)
			}
			if _, err := src.Anchors(); err != nil {
				said = append(said, err.Error())
			}
			if _, err := src.Chain(); err != nil {
				said = append(said, err.Error())
			}
			for _, r := range []bundle.Rules{bundle.Identity, bundle.Proxy} {
				if reading := bundle.ReadAs([]byte(text), r, bundle.Releases()[0]); reading.Err != nil {
					said = append(said, reading.Err.Error())
				}
				if _, err := src.AnchorsAs(r); err != nil {
					said = append(said, err.Error())
				}
			}
			all := strings.Join(said, "\n")
			decimal := strings.Trim(strings.ReplaceAll(fmt.Sprint([]byte(body[40:52])), " ", ", "), "[]")
			require.NotContains(t, all, decimal, "not as a list of bytes either")
			for i := 0; i+12 <= len(body); i++ {
				require.NotContains(t, all, body[i:i+12])
			}
		})
	}
}

func TestParseKnownTakesWhatItKnowsInstead(t *testing.T) {
	lab := newLab()
	texts := make([]string, 0, 40)
	for i := range 40 {
		texts = append(texts, lab.Root(fmt.Sprint("root ", i)).PEM())
	}
	known, err := bundle.Parse([]byte(strings.Join(texts[:20], "")))
	require.NoError(t, err)
	for name, text := range map[string]string{
		"plain":   strings.Join(texts, ""),
		"CRLF":    strings.ReplaceAll(strings.Join(texts, ""), "\n", "\r\n"),
		"odd":     strings.ReplaceAll(strings.Join(texts, ""), "\nMI", "\n  MI"),
		"comment": "# one\n" + strings.Join(texts, "# next\n"),
	} {
		got, err := bundle.ParseKnown([]byte(text), known)
		require.NoError(t, err, name)
		anew, err := bundle.Parse([]byte(text))
		require.NoError(t, err, name)
		require.True(t, got.Equal(anew), name)
		for _, c := range known.Certificates() {
			require.Same(t, c, got.Get(c.Fingerprint()), name)
		}
	}

	// What is added later is known as well, and readers may share what they know.
	more, err := bundle.Parse([]byte(texts[30]))
	require.NoError(t, err)
	known.Add(more.Certificates()[0])
	done := make(chan *bundle.Bundle)
	for range 4 {
		go func() {
			got, _ := bundle.ParseKnown([]byte(strings.Join(texts, "")), known)
			done <- got
		}()
	}
	for range 4 {
		got := <-done
		require.Equal(t, 40, got.Len())
		require.Same(t, more.Certificates()[0], got.Get(more.Certificates()[0].Fingerprint()))
	}
}
